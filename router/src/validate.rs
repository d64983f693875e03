//! The shape of requests. Pure.
//!
//! Whatever passes here can be a command or a question for a shard; whatever does not is answered with
//! all its violations at once. Nothing is trimmed or repaired: two spellings are two values, and a
//! caller should know which one it sent.

use std::collections::BTreeMap;

use coupon_cluster::{CampaignId, RequestId};
use coupon_proto::internal::{CreateCampaignCommand, IssueCommand};
use coupon_proto::v1::{
    BatchIssueCouponsRequest, CreateCampaignRequest, IssueCouponRequest, ListCouponsRequest,
};
use prost_types::{Duration, Timestamp};
use tonic_types::pb::bad_request::FieldViolation;
use unicode_normalization::is_nfc;
use uuid::Uuid;

use crate::error::{Fault, violation};

const DISPLAY_NAME_CHARS_MAX: usize = 200;
const QUOTA_MAX: i64 = 1_000_000_000;
const PER_RECIPIENT_LIMIT_MAX: i32 = 100;
const LABELS_MAX: usize = 32;
const METADATA_MAX: usize = 16;
const MAP_KEY_CHARS_MAX: usize = 63;
const MAP_VALUE_CHARS_MAX: usize = 255;
const RECIPIENT_BYTES_MAX: usize = 128;
const BATCH_MAX: usize = 1_000;
const PAGE_MAX: u32 = 1_000;

/// Ten years with every leap day they may have.
const COUPON_TTL_SECONDS_MAX: i64 = 3_653 * 86_400;

/// The end of the year 9999, which is where protobuf's timestamps end.
const SECONDS_MAX: i64 = 253_402_300_799;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// The id that makes a request the same request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestIdentity {
    /// The id.
    pub(crate) id: RequestId,
    /// Whether it is of our making, so that nobody else can have sent it before.
    pub(crate) generated: bool,
}

/// An `IssueCoupon` that can be proposed.
#[derive(Debug)]
pub(crate) struct Issue {
    pub(crate) campaign: CampaignId,
    pub(crate) identity: RequestIdentity,
    pub(crate) command: IssueCommand,
}

/// A `CreateCampaign` that can be proposed, but for the key of its codes.
#[derive(Debug)]
pub(crate) struct Creation {
    pub(crate) campaign: CampaignId,
    pub(crate) identity: RequestIdentity,
    pub(crate) command: CreateCampaignCommand,
}

/// A `ListCoupons` that can be asked.
#[derive(Debug)]
pub(crate) struct CouponListing {
    pub(crate) campaign: Option<CampaignId>,
    pub(crate) recipient: String,
    pub(crate) limit: u32,
}

/// Checks `IssueCoupon`.
///
/// # Errors
/// [`Fault::Invalid`] with all violations.
pub(crate) fn issue(request: IssueCouponRequest) -> Result<Issue, Fault> {
    let mut check = Check::default();
    let campaign = check.campaign_id(&request.campaign_id);
    let identity = check.request_id(&request.request_id);
    check.recipient(&request.recipient);
    check.map("metadata", &request.metadata, METADATA_MAX);
    let (Some(campaign), Some(identity), []) = (campaign, identity, check.0.as_slice()) else {
        return Err(Fault::Invalid(check.0));
    };
    let command = IssueCommand {
        campaign_id: request.campaign_id,
        recipient: request.recipient,
        request_id: identity.id.as_bytes().to_vec(),
        metadata: request.metadata,
    };
    Ok(Issue { campaign, identity, command })
}

/// Checks the size of a batch; its requests are checked and answered one by one.
///
/// # Errors
/// [`Fault::Invalid`] when the batch is empty or too large.
pub(crate) fn batch(request: &BatchIssueCouponsRequest) -> Result<(), Fault> {
    let count = request.requests.len();
    if (1..=BATCH_MAX).contains(&count) {
        return Ok(());
    }
    let description = format!("must have 1 to {BATCH_MAX} requests, has {count}");
    Err(Fault::field("requests", description))
}

/// Checks `CreateCampaign`.
///
/// # Errors
/// [`Fault::Invalid`] with all violations.
pub(crate) fn creation(request: CreateCampaignRequest) -> Result<Creation, Fault> {
    let mut check = Check::default();
    let identity = check.request_id(&request.request_id);
    let campaign = match identity {
        Some(identity) if request.campaign_id.is_empty() => Some(derived_campaign_id(identity.id)),
        Some(_) | None if request.campaign_id.is_empty() => None,
        Some(_) | None => check.campaign_id(&request.campaign_id),
    };
    check.display_name(&request.display_name);
    check.range("quota", request.quota, 1, QUOTA_MAX);
    check.range(
        "per_recipient_limit",
        request.per_recipient_limit.into(),
        0,
        PER_RECIPIENT_LIMIT_MAX.into(),
    );
    let start_micros = check.time("start_time", request.start_time.as_ref());
    if start_micros == Some(0) {
        // At 0 it would mean "at once" further on.
        check.fail("start_time", "must be after 1970-01-01T00:00:00Z");
    }
    let end_micros = check.time("end_time", request.end_time.as_ref());
    if let Some(end) = end_micros
        && end <= start_micros.unwrap_or(0)
    {
        // At 0 it would mean "no end" further on, which is not what was asked for.
        check.fail("end_time", "must be after start_time and after 1970");
    }
    let coupon_ttl_micros = check.coupon_ttl(request.coupon_ttl.as_ref());
    check.map("labels", &request.labels, LABELS_MAX);
    let (Some(campaign), Some(identity), []) = (campaign, identity, check.0.as_slice()) else {
        return Err(Fault::Invalid(check.0));
    };
    let command = CreateCampaignCommand {
        campaign_id: campaign.to_string(),
        display_name: request.display_name,
        quota: request.quota.unsigned_abs(),
        start_micros: start_micros.unwrap_or(0),
        end_micros: end_micros.unwrap_or(0),
        per_recipient_limit: request.per_recipient_limit.unsigned_abs(),
        coupon_ttl_micros,
        labels: request.labels,
        request_id: identity.id.as_bytes().to_vec(),
        code_key_id: 0,
    };
    Ok(Creation { campaign, identity, command })
}

/// Checks a campaign id that must be there.
///
/// # Errors
/// [`Fault::Invalid`].
pub(crate) fn campaign_id(text: &str) -> Result<CampaignId, Fault> {
    let mut check = Check::default();
    check.campaign_id(text).ok_or(Fault::Invalid(check.0))
}

/// Checks a page size: 0 is `default`, more than 1,000 is 1,000.
///
/// # Errors
/// [`Fault::Invalid`] when it is negative.
pub(crate) fn page_size(size: i32, default: u32) -> Result<u32, Fault> {
    let mut check = Check::default();
    check.page_size(size, default).ok_or(Fault::Invalid(check.0))
}

/// Checks `ListCoupons` but for its page token.
///
/// # Errors
/// [`Fault::Invalid`] with all violations.
pub(crate) fn coupon_listing(
    request: ListCouponsRequest,
    default_page_size: u32,
) -> Result<CouponListing, Fault> {
    let mut check = Check::default();
    let limit = check.page_size(request.page_size, default_page_size);
    let campaign = if request.campaign_id.is_empty() {
        if request.recipient.is_empty() {
            check.fail("campaign_id", "must be set where recipient is not");
        }
        None
    } else {
        check.campaign_id(&request.campaign_id)
    };
    check.recipient(&request.recipient);
    match (limit, check.0.as_slice()) {
        (Some(limit), []) => Ok(CouponListing { campaign, recipient: request.recipient, limit }),
        (Some(_) | None, _) => Err(Fault::Invalid(check.0)),
    }
}

/// A campaign id made of the id of the request that creates it, so that the same request always
/// means the same campaign.
fn derived_campaign_id(id: RequestId) -> CampaignId {
    let hex: String = id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    CampaignId::parse(&format!("c-{hex}")).expect("a letter, a hyphen and hexadecimal digits")
}

/// Collects violations.
#[derive(Default)]
struct Check(Vec<FieldViolation>);

impl Check {
    fn fail(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(violation(field, description));
    }

    fn campaign_id(&mut self, text: &str) -> Option<CampaignId> {
        CampaignId::parse(text).map_err(|error| self.fail("campaign_id", error.to_string())).ok()
    }

    fn request_id(&mut self, text: &str) -> Option<RequestIdentity> {
        if text.is_empty() {
            let id = RequestId::from_bytes(Uuid::now_v7().as_bytes());
            let id = id.expect("a UUID has 16 bytes, and one of version 7 is never nil");
            return Some(RequestIdentity { id, generated: true });
        }
        let id = RequestId::parse(text).map_err(|error| self.fail("request_id", error.to_string()));
        id.ok().map(|id| RequestIdentity { id, generated: false })
    }

    fn recipient(&mut self, text: &str) {
        if text.len() > RECIPIENT_BYTES_MAX {
            let length = text.len();
            let description =
                format!("must have at most {RECIPIENT_BYTES_MAX} bytes, has {length}");
            // What follows would walk over as much text as somebody cares to send.
            return self.fail("recipient", description);
        }
        for flaw in flaws(text) {
            self.fail("recipient", flaw);
        }
    }

    fn display_name(&mut self, text: &str) {
        if text.chars().nth(DISPLAY_NAME_CHARS_MAX).is_some() {
            let description = format!("must have at most {DISPLAY_NAME_CHARS_MAX} characters");
            return self.fail("display_name", description);
        }
        for flaw in flaws(text) {
            self.fail("display_name", flaw);
        }
    }

    fn map(&mut self, field: &str, map: &BTreeMap<String, String>, entries_max: usize) {
        if map.len() > entries_max {
            let count = map.len();
            let description = format!("must have at most {entries_max} entries, has {count}");
            return self.fail(field, description);
        }
        // Keys may be anything, so violations name entries by their place in order of the keys.
        for (index, (key, value)) in map.iter().enumerate() {
            if key.is_empty() || key.chars().nth(MAP_KEY_CHARS_MAX).is_some() {
                let description = format!("must have 1 to {MAP_KEY_CHARS_MAX} characters");
                self.fail(format!("{field}[{index}].key"), description);
            } else {
                for flaw in flaws(key) {
                    self.fail(format!("{field}[{index}].key"), flaw);
                }
            }
            if value.chars().nth(MAP_VALUE_CHARS_MAX).is_some() {
                let description = format!("must have at most {MAP_VALUE_CHARS_MAX} characters");
                self.fail(format!("{field}[{index}].value"), description);
            } else {
                for flaw in flaws(value) {
                    self.fail(format!("{field}[{index}].value"), flaw);
                }
            }
        }
    }

    fn range(&mut self, field: &str, value: i64, least: i64, most: i64) {
        if !(least..=most).contains(&value) {
            self.fail(field, format!("must be {least} to {most}, is {value}"));
        }
    }

    /// Microseconds since 1970, rounded down; `None` where it is not set or not a time.
    fn time(&mut self, field: &str, time: Option<&Timestamp>) -> Option<u64> {
        let time = time?;
        let micros =
            (0..=SECONDS_MAX).contains(&time.seconds).then(|| micros(time.seconds, time.nanos));
        let micros = micros.flatten();
        if micros.is_none() {
            self.fail(field, "must be a time from 1970 to 9999");
        }
        micros
    }

    /// Microseconds, rounded down; 0 where it is not set or out of range.
    fn coupon_ttl(&mut self, ttl: Option<&Duration>) -> u64 {
        let Some(ttl) = ttl else { return 0 };
        let range = 1..=COUPON_TTL_SECONDS_MAX;
        let micros = range.contains(&ttl.seconds).then(|| micros(ttl.seconds, ttl.nanos)).flatten();
        if micros.is_none() {
            self.fail("coupon_ttl", "must be from one second to ten years");
        }
        micros.unwrap_or(0)
    }

    fn page_size(&mut self, size: i32, default: u32) -> Option<u32> {
        match u32::try_from(size) {
            Ok(0) => Some(default),
            Ok(size) => Some(size.min(PAGE_MAX)),
            Err(_) => {
                self.fail("page_size", "must not be negative");
                None
            }
        }
    }
}

/// What makes a text unfit to be stored and shown: characters that do something instead of being seen,
/// and spellings that look like another one.
fn flaws(text: &str) -> impl Iterator<Item = &'static str> {
    let control = text.chars().any(char::is_control).then_some("must not have control characters");
    let spelling = (!is_nfc(text)).then_some("must be in Unicode normal form C");
    control.into_iter().chain(spelling)
}

/// `None` when the nanoseconds are no fraction of a second, or the seconds are negative.
fn micros(seconds: i64, nanos: i32) -> Option<u64> {
    let fraction = u64::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    let whole = u64::try_from(seconds).ok()?.checked_mul(MICROS_PER_SECOND)?;
    whole.checked_add(fraction / 1_000)
}
