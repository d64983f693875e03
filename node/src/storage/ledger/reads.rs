//! What a batch that is not written yet holds, for those who compare histories.

use coupon_cluster::RequestId;
use coupon_ledger::{Campaign, CodeImport, CouponHistory, Hold};

use super::LedgerBatch;
use crate::storage::{StorageError, code_rows, hold_rows};

impl<'a> LedgerBatch<'a> {
    /// The campaigns that were looked at, as the batch leaves them.
    pub fn campaigns(&self) -> impl Iterator<Item = &Campaign> {
        let touched = self.campaigns.0.values().filter(|cached| cached.is_touched);
        touched.map(|cached| &cached.campaign)
    }

    /// What was done with a coupon that the batch changed; `None`: it did not.
    pub fn history_of(&self, number: u32, sequence: u64) -> Option<&CouponHistory> {
        self.histories.get(&(number, sequence))
    }

    /// The holds of a campaign, by id, as the batch leaves them.
    pub fn holds_of(
        &self,
        number: u32,
    ) -> impl Iterator<Item = Result<(RequestId, Hold), StorageError>> + use<'_, 'a> {
        hold_rows::holds(self, self.keys, number)
    }

    /// A hold of a campaign, as the batch leaves it.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn hold_of(&self, number: u32, hold_id: &RequestId) -> Result<Option<Hold>, StorageError> {
        hold_rows::hold(self, self.keys, number, hold_id)
    }

    /// The imports of codes into a campaign, by id, as the batch leaves them.
    pub fn imports_of(
        &self,
        number: u32,
    ) -> impl Iterator<Item = Result<(RequestId, CodeImport), StorageError>> + use<'_, 'a> {
        code_rows::code_imports(self, self.keys, number)
    }

    /// An import of codes into a campaign, as the batch leaves it.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn import_of(
        &self,
        number: u32,
        import_id: &RequestId,
    ) -> Result<Option<CodeImport>, StorageError> {
        code_rows::code_import(self, self.keys, number, import_id)
    }
}
