//! What was recorded.

/// A coupon: as it was answered, or as it was found afterwards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coupon {
    /// Its place in the campaign, from 1.
    pub sequence: u64,
    /// The string people see.
    pub code: Box<str>,
    /// Who holds it; may be empty.
    pub recipient: Box<str>,
    /// The UUID of the request that issued it.
    pub request_id: u128,
}

/// A campaign: what was answered about it, and what was found in it when all was over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Campaign {
    /// Its id.
    pub id: String,
    /// How many coupons may be issued.
    pub quota: u64,
    /// How many coupons a recipient may hold; 0 is no limit.
    pub per_recipient_limit: u64,
    /// All coupons that the campaign had when all was over, in any order.
    pub rows: Vec<Coupon>,
    /// The coupons of all answers that were received, in any order; an answer that was received
    /// twice may be here twice.
    pub acknowledged: Vec<Coupon>,
    /// The ids of all requests that were sent and got no answer that says what came of them.
    /// `None` when others gave load as well and their requests are not known: then no row can be
    /// called a phantom.
    pub unanswered: Option<Vec<u128>>,
    /// Whether any answer said that the campaign is sold out.
    pub sold_out: bool,
}

impl Campaign {
    /// The rows in the order of their sequence numbers.
    pub(crate) fn rows_by_sequence(&self) -> Vec<&Coupon> {
        let mut rows: Vec<&Coupon> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|row| row.sequence);
        rows
    }
}
