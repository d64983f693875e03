//! Imported codes and imports, as they are kept on disk.

use coupon_ledger::{CodeImport, ImportedCode};
use coupon_proto::internal as pb;

/// What is known of a code, as its record.
pub fn to_pb(imported: &ImportedCode) -> pb::ImportedCodeRecord {
    let ImportedCode { sequence, import, line } = *imported;
    pb::ImportedCodeRecord { sequence, import_number: import, line }
}

/// What is known of a code, from its record.
pub fn from_pb(record: &pb::ImportedCodeRecord) -> ImportedCode {
    let pb::ImportedCodeRecord { sequence, import_number, line } = *record;
    ImportedCode { sequence, import: import_number, line }
}

/// How far an import has come, as its record.
pub fn import_to_pb(import: &CodeImport) -> pb::CodeImportRecord {
    let CodeImport { number, next_line, imported } = *import;
    pb::CodeImportRecord { number, next_line, imported }
}

/// How far an import has come, from its record.
pub fn import_from_pb(record: &pb::CodeImportRecord) -> CodeImport {
    let pb::CodeImportRecord { number, next_line, imported } = *record;
    CodeImport { number, next_line, imported }
}
