//! The keys of imported codes.

use coupon_cluster::RequestId;

use super::StateKeys;

const CODE_IMPORT: u8 = b'J';
const IMPORTED_CODE: u8 = b'L';
const PENDING_CODE: u8 = b'P';

impl StateKeys {
    /// The prefix of the imports of a campaign.
    pub fn code_imports(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(CODE_IMPORT, 20);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The key of an import of codes.
    pub fn code_import(&self, number: u32, import_id: &RequestId) -> Vec<u8> {
        let mut key = self.code_imports(number);
        key.extend_from_slice(import_id.as_bytes());
        key
    }

    /// The prefix of the imported codes of a campaign.
    pub fn imported_codes(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(IMPORTED_CODE, 68);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The key of an imported code.
    pub fn imported_code(&self, number: u32, code: &str) -> Vec<u8> {
        let mut key = self.imported_codes(number);
        key.extend_from_slice(code.as_bytes());
        key
    }

    /// The prefix of the imported codes of a campaign that no coupon has.
    pub fn pending_codes(&self, number: u32) -> Vec<u8> {
        let mut key = self.table(PENDING_CODE, 12);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The key of the imported code at a place.
    pub fn pending_code(&self, number: u32, sequence: u64) -> Vec<u8> {
        let mut key = self.pending_codes(number);
        key.extend_from_slice(&sequence.to_be_bytes());
        key
    }
}
