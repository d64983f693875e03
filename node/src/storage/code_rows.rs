//! Imported codes as rows: each under itself, those that no coupon has by their places besides, and how far each import
//! has come.

use coupon_cluster::RequestId;
use coupon_ledger::{CodeImport, ImportedCode};
use coupon_proto::internal as pb;

use super::StorageError;
use super::keys::{StateKeys, after_prefix};
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

/// The imports of a campaign, by id.
pub(super) fn code_imports<R: Rows>(
    rows: &R,
    keys: StateKeys,
    number: u32,
) -> impl Iterator<Item = Result<(RequestId, CodeImport), StorageError>> + use<'_, R> {
    let first = keys.code_imports(number);
    let end = after_prefix(&first).unwrap_or_else(|| keys.end().to_vec());
    rows.keys(&first, &end).map(move |key| {
        let malformed = || StorageError::corrupt("import of codes", "its key is malformed");
        let key = key?;
        let import_id = key.strip_prefix(first.as_slice()).ok_or_else(malformed)?;
        let import_id = RequestId::from_bytes(import_id).map_err(|_| malformed())?;
        let found = code_import(rows, keys, number, &import_id)?;
        let found = found.ok_or_else(|| StorageError::corrupt("import of codes", "it is gone"))?;
        Ok((import_id, found))
    })
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
