//! Imported codes in a batch.

use coupon_cluster::RequestId;
use coupon_ledger::{CodeImport, ImportedCode};
use prost::Message as _;

use super::LedgerBatch;
use crate::codec::imported_code;
use crate::storage::{StorageError, code_rows};

impl LedgerBatch<'_> {
    /// Writes how far an import has come.
    pub(super) fn write_code_import(
        &mut self,
        number: u32,
        import_id: &RequestId,
        import: &CodeImport,
    ) {
        let key = self.keys.code_import(number, import_id);
        let value = imported_code::import_to_pb(import).encode_to_vec();
        self.put(&key, &value);
        self.written.note(&key, Some(value));
    }

    /// Writes a code under itself and at its place.
    pub(super) fn write_imported_code(&mut self, number: u32, code: &str, imported: &ImportedCode) {
        let key = self.keys.imported_code(number, code);
        let value = imported_code::to_pb(imported).encode_to_vec();
        self.put(&key, &value);
        self.written.note(&key, Some(value));
        // What stands at which place follows from the row above, and is not hashed.
        let key = self.keys.pending_code(number, imported.sequence);
        self.batch.put_cf(self.storage.state(), &key, code);
        self.written.note(&key, Some(code.as_bytes().to_vec()));
    }

    /// Takes the code at a place away from there.
    pub(super) fn take_pending_code(
        &mut self,
        number: u32,
        sequence: u64,
    ) -> Result<String, StorageError> {
        let code = code_rows::pending_code(self, self.keys, number, sequence)?;
        let key = self.keys.pending_code(number, sequence);
        self.batch.delete_cf(self.storage.state(), &key);
        self.written.note(&key, None);
        Ok(code)
    }
}
