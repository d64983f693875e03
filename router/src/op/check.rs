//! The shape of fields, for all operations. Pure.
//!
//! Whatever passes here can be in a command or a question for a shard; whatever does not is answered with all its
//! violations at once. Nothing is trimmed or repaired: two spellings are two values, and a caller should know
//! which one it sent.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use coupon_cluster::{CampaignName, RequestId, TenantId};
use coupon_env::entropy::time_ordered_uuid;
use prost_types::{Duration, Timestamp};
use tonic_types::pb::bad_request::FieldViolation;

use super::text::{Use, flaws};
use crate::answer::error::{Fault, violation};
use crate::route::retry::Unanswered;

const DISPLAY_NAME_CHARS_MAX: usize = 200;
const MAP_KEY_CHARS_MAX: usize = 63;
const MAP_VALUE_CHARS_MAX: usize = 255;
const REFERENCE_BYTES_MAX: usize = 128;
const EXPLANATION_CHARS_MAX: usize = 255;
const PAGE_MAX: u32 = 1_000;

/// Ten years with every leap day they may have.
const COUPON_TTL_SECONDS_MAX: i64 = 3_653 * 86_400;

/// Maximum lifetime of a hold: a day, longer than a payment takes, because others cannot have what is held.
const HOLD_TTL_MICROS_MAX: u64 = 86_400 * MICROS_PER_SECOND;

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

impl RequestIdentity {
    /// What a fault means for a request with this identity: where the caller has no id to ask again with, an unknown
    /// outcome stays unknown.
    pub(crate) fn judge(self, fault: Fault) -> Fault {
        let is_unknown = matches!(fault, Fault::Unanswered(Unanswered::OutcomeUnknown));
        if is_unknown && self.generated { Fault::OutcomeUnknowable } else { fault }
    }
}

/// The tenant of all calls, since they have no credentials yet.
pub(crate) fn tenant() -> &'static TenantId {
    static DEFAULT: LazyLock<TenantId> = LazyLock::new(TenantId::default);
    &DEFAULT
}

/// Checks a campaign id that must be there. Returns the name of the campaign.
///
/// # Errors
/// [`Fault::Invalid`].
pub(crate) fn campaign_id(text: &str) -> Result<CampaignName, Fault> {
    let mut check = Check::default();
    check.campaign_id(text).ok_or(Fault::Invalid(check.violations))
}

/// Collects violations.
#[derive(Default)]
pub(crate) struct Check {
    violations: Vec<FieldViolation>,
    /// Stands before the names of fields.
    prefix: &'static str,
}

impl Check {
    /// Nothing, or all violations found.
    ///
    /// # Errors
    /// [`Fault::Invalid`].
    pub(crate) fn result(self) -> Result<(), Fault> {
        if self.violations.is_empty() { Ok(()) } else { Err(Fault::Invalid(self.violations)) }
    }

    /// From here on, fields are those of a message in the request: `prefix` stands before their names.
    pub(crate) fn enter(&mut self, prefix: &'static str) {
        self.prefix = prefix;
    }

    /// Notes a violation.
    pub(crate) fn fail(&mut self, field: impl AsRef<str>, description: impl Into<String>) {
        let field = [self.prefix, field.as_ref()].concat();
        self.violations.push(violation(field, description));
    }

    /// The descriptions of all violations.
    #[cfg(test)]
    pub(super) fn descriptions(self) -> Vec<String> {
        self.violations.into_iter().map(|violation| violation.description).collect()
    }

    /// The name of the campaign with an id; `None` when that is invalid.
    pub(crate) fn campaign_id(&mut self, text: &str) -> Option<CampaignName> {
        CampaignName::new(tenant(), text)
            .map_err(|error| self.fail("campaign_id", error.to_string()))
            .ok()
    }

    /// The identity of a request, generated if the caller gave no id; `None` when the caller's id is invalid.
    pub(crate) fn request_id(&mut self, text: &str) -> Option<RequestIdentity> {
        if text.is_empty() {
            let id = RequestId::from_bytes(&time_ordered_uuid());
            let id = id.expect("a UUID has 16 bytes, and one of version 7 is never nil");
            return Some(RequestIdentity { id, generated: true });
        }
        let id = RequestId::parse(text).map_err(|error| self.fail("request_id", error.to_string()));
        id.ok().map(|id| RequestIdentity { id, generated: false })
    }

    /// The id of a hold; `None` when it is invalid.
    pub(crate) fn hold_id(&mut self, text: &str) -> Option<RequestId> {
        RequestId::parse(text).map_err(|error| self.fail("hold_id", error.to_string())).ok()
    }

    /// The id of an import; `None` when it is invalid.
    pub(crate) fn import_id(&mut self, text: &str) -> Option<RequestId> {
        RequestId::parse(text).map_err(|error| self.fail("import_id", error.to_string())).ok()
    }

    /// Checks a recipient.
    pub(crate) fn recipient(&mut self, text: &str) {
        self.reference("recipient", text);
    }

    /// Checks a text that refers to something of the caller, and is compared with others.
    pub(crate) fn reference(&mut self, field: &str, text: &str) {
        if text.len() > REFERENCE_BYTES_MAX {
            let length = text.len();
            let description =
                format!("must have at most {REFERENCE_BYTES_MAX} bytes, has {length}");
            // What follows would walk over as much text as somebody cares to send.
            return self.fail(field, description);
        }
        for flaw in flaws(text, Use::Comparison) {
            self.fail(field, flaw);
        }
    }

    /// Checks a text for people.
    pub(crate) fn explanation(&mut self, field: &str, text: &str) {
        if text.chars().nth(EXPLANATION_CHARS_MAX).is_some() {
            let description = format!("must have at most {EXPLANATION_CHARS_MAX} characters");
            return self.fail(field, description);
        }
        for flaw in flaws(text, Use::Display) {
            self.fail(field, flaw);
        }
    }

    /// Checks the name of a campaign.
    pub(crate) fn display_name(&mut self, text: &str) {
        if text.chars().nth(DISPLAY_NAME_CHARS_MAX).is_some() {
            let description = format!("must have at most {DISPLAY_NAME_CHARS_MAX} characters");
            return self.fail("display_name", description);
        }
        for flaw in flaws(text, Use::Display) {
            self.fail("display_name", flaw);
        }
    }

    /// Checks labels or metadata.
    pub(crate) fn map(&mut self, field: &str, map: &BTreeMap<String, String>, entries_max: usize) {
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
                for flaw in flaws(key, Use::Comparison) {
                    self.fail(format!("{field}[{index}].key"), flaw);
                }
            }
            if value.chars().nth(MAP_VALUE_CHARS_MAX).is_some() {
                let description = format!("must have at most {MAP_VALUE_CHARS_MAX} characters");
                self.fail(format!("{field}[{index}].value"), description);
            } else {
                for flaw in flaws(value, Use::Display) {
                    self.fail(format!("{field}[{index}].value"), flaw);
                }
            }
        }
    }

    /// Checks a number.
    pub(crate) fn range(&mut self, field: &str, value: i64, least: i64, most: i64) {
        if !(least..=most).contains(&value) {
            self.fail(field, format!("must be {least} to {most}, is {value}"));
        }
    }

    /// Microseconds since 1970, rounded down; `None` where it is not set or not a time.
    pub(crate) fn time(&mut self, field: &str, time: Option<&Timestamp>) -> Option<u64> {
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
    pub(crate) fn coupon_ttl(&mut self, ttl: Option<&Duration>) -> u64 {
        let Some(ttl) = ttl else { return 0 };
        let range = 1..=COUPON_TTL_SECONDS_MAX;
        let micros = range.contains(&ttl.seconds).then(|| micros(ttl.seconds, ttl.nanos)).flatten();
        if micros.is_none() {
            self.fail("coupon_ttl", "must be from one second to ten years");
        }
        micros.unwrap_or(0)
    }

    /// The lifetime of a hold in microseconds, rounded down; 0 where it is not set or out of range.
    pub(crate) fn hold_ttl(&mut self, ttl: Option<&Duration>) -> u64 {
        let range = MICROS_PER_SECOND..=HOLD_TTL_MICROS_MAX;
        let micros = ttl.and_then(|ttl| micros(ttl.seconds, ttl.nanos));
        let micros = micros.filter(|micros| range.contains(micros));
        if micros.is_none() {
            self.fail("ttl", "must be from one second to 24 hours");
        }
        micros.unwrap_or(0)
    }

    /// How many items a page has; `None` when that is no number of items.
    pub(crate) fn page_size(&mut self, size: i32, default: u32) -> Option<u32> {
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

/// `None` when the nanoseconds are no fraction of a second, or the seconds are negative.
fn micros(seconds: i64, nanos: i32) -> Option<u64> {
    let fraction = u64::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    let whole = u64::try_from(seconds).ok()?.checked_mul(MICROS_PER_SECOND)?;
    whole.checked_add(fraction / 1_000)
}
