//! Calls for coupons.

use crate::history::{Call, Operation};

/// A call for a coupon.
#[derive(Clone, Copy)]
pub(crate) struct Issue<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) request_id: u128,
    pub(crate) recipient: &'a str,
}

impl<'a> Issue<'a> {
    /// The call, if it is one for a coupon.
    pub(crate) fn of(operation: &'a Operation) -> Option<Self> {
        match &operation.call {
            Call::Issue { request_id, recipient } => {
                Some(Self { operation, request_id: *request_id, recipient })
            }
            Call::Get
            | Call::Redeem { .. }
            | Call::Reverse { .. }
            | Call::Void { .. }
            | Call::SetQuota { .. } => None,
        }
    }
}
