//! Imported codes as rows: each under itself, those that no coupon has by their places besides, and how far each import
//! has come.

use coupon_cluster::RequestId;
use coupon_ledger::{CodeImport, ImportedCode};
use coupon_proto::internal as pb;

use super::StorageError;
use super::keys::StateKeys;
use super::ledger::decode;
use super::rows::Rows;
use crate::codec::imported_code;

/// What is known of a code of a campaign.
pub(super) fn imported_code(
    rows: &impl Rows,
    keys: StateKeys,
    number: u32,
    code: &str,
) -> Result<Option<ImportedCode>, StorageError> {
    let Some(value) = rows.get(&keys.imported_code(number, code))? else { return Ok(None) };
    let record: pb::ImportedCodeRecord = decode("imported code", &value)?;
    Ok(Some(imported_code::from_pb(&record)))
}

/// How far an import of a campaign has come.
pub(super) fn code_import(
    rows: &impl Rows,
    keys: StateKeys,
    number: u32,
    import_id: &RequestId,
) -> Result<Option<CodeImport>, StorageError> {
    let Some(value) = rows.get(&keys.code_import(number, import_id))? else { return Ok(None) };
    let record: pb::CodeImportRecord = decode("import of codes", &value)?;
    Ok(Some(imported_code::import_from_pb(&record)))
}

/// The code at a place that no coupon has yet.
pub(super) fn pending_code(
    rows: &impl Rows,
    keys: StateKeys,
    number: u32,
    sequence: u64,
) -> Result<String, StorageError> {
    let value = rows.get(&keys.pending_code(number, sequence))?;
    let value = value.ok_or_else(|| StorageError::corrupt("imported code", "it is missing"))?;
    String::from_utf8(value).map_err(|error| StorageError::corrupt("imported code", error))
}
