//! The ledger: the replicated state machine of a data shard.
//!
//! A pure function: *(state, log time, command) → outcome*. Quota, window, limit per recipient,
//! deduplication of requests and the numbering of codes are decided here and nowhere else. Every
//! replica of a shard applies the same entries in the same order, so all of them decide alike, and
//! there is nothing to race.
//!
//! [`Ledger::apply`] takes the [`Command`]s of one log entry and gives one [`Outcome`] for each. The
//! state is in a [`Store`], of which [`MemoryStore`] is the plainest.
//!
//! # Invariants
//!
//! 1. A campaign never issues and holds more than its quota, voided coupons apart that returned theirs, and is never
//!    sold out before. The quota may change, but never to less than what counts against it.
//! 2. No counter, hence no code, is used twice, in any campaign of the shard, ever.
//! 3. A recipient never holds more than the campaign's limit, open holds included; asking again tells what they hold.
//! 4. A request id gives the same coupon for as long as the coupon exists: until its campaign is deleted. Refusals are not
//!    remembered: the same request may succeed later.
//! 5. Sequence numbers of a campaign are 1, 2, 3, …, in the order of the log.
//! 6. Nothing is issued or held before a campaign's start, nor at or after its end, by log time; but a hold can be
//!    confirmed until it expires, also after the end of its campaign, and never later. Log time never runs backwards.
//! 7. The same entries give the same state, down to the last bit, and so do the same commands at the
//!    same log times in other entries.
//! 8. A coupon is redeemed at most once until that is reversed, and never once it is voided.
//! 9. A command has an effect only if its sender routed by the epoch in force and this shard owns the
//!    campaign in it.
//! 10. Each revision of a campaign is one change: a coupon that was issued, or an [`Event`].
//! 11. The n-th coupon of a campaign whose codes are imported has the n-th of them, and each code is there once. Until
//!     there are more codes, such a campaign issues and holds no more than it has.
//!
//! # Refusals and faults
//!
//! Saying no is part of the job: a [`Refusal`] is an outcome, and replicated like one. A fault of the
//! storage is an `Err`, stops the replica, and never becomes an answer, since the other replicas did
//! not have it.
//!
//! # What is deliberately absent
//!
//! - A clock, randomness, unordered maps, threads, I/O: everything that could make two replicas differ.
//! - Codes. The ledger gives out counters, and whoever shows a coupon to people computes its code.
//! - Checking the shape of requests. Lengths and ranges are checked before the log. No value makes the
//!   ledger panic or break an invariant, but it does keep what it is given.
//! - The wire and disk formats. The types here are plain, and their encoding is the node's business.
//! - Queries. Those that list coupons and campaigns read the store.

mod block;
mod campaign;
mod code;
mod command;
mod coupon;
mod entry;
mod event;
mod fence;
mod history;
mod hold;
mod import;
mod ledger;
mod memory;
pub mod mutants;
mod op;
mod outcome;
mod restore;
mod shard;
mod store;
mod time;

pub use block::BLOCK_SIZE;
pub use campaign::{
    Campaign, CampaignCounters, CampaignSpec, CampaignStage, Change, ChangeKind, CreationTerms,
};
pub use code::{find_coupon, find_coupon_in};
pub use command::{Action, Command};
pub use coupon::{
    CampaignCode, CodeNumber, Coupon, CouponCode, CouponState, IssuedCoupon, SEQUENCE_MAX,
};
pub use event::{CampaignTerms, Event, EventKind};
pub use history::{CouponChange, CouponChangeKind, CouponHistory};
pub use hold::{EndsFound, HOLDS_OPEN_MAX, Hold, HoldEnd, HoldEnds, HoldState};
pub use import::{CodeImport, ImportedCode, LineRefusal, RefusedLine};
pub use ledger::Ledger;
pub use memory::MemoryStore;
pub use op::{
    ArchiveCampaign, CODES_MAX, ConfirmHold, CreateCampaign, DeleteCampaign, EndCampaign,
    HELD_SHOWN_MAX, HOLD_REMEMBERED_MICROS, HOLDS_KEPT_MAX, HoldCoupon, IMPORTS_MAX, ImportCodes,
    Issue, PauseCampaign, RedeemCoupon, ReleaseHold, ResumeCampaign, ReverseRedemption,
    UpdateCampaign, VoidCoupon, redemption_refusal,
};
pub use outcome::{Outcome, Refusal};
pub use restore::{BLOCKS_SKIPPED, CAMPAIGN_NUMBERS_SKIPPED, CountersExhausted};
pub use shard::ShardState;
pub use store::{StateReader, Store};
pub use time::LogTime;
