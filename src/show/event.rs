//! Events as they are printed.

use std::collections::BTreeMap;

use coupon_proto::v1;
use serde::Serialize;

use super::{Coupon, Hold, time};

/// Something that happened to a campaign, or to one of its coupons or holds.
#[derive(Debug, Serialize)]
pub(crate) struct Event {
    campaign_id: String,
    revision: i64,
    history_id: i64,
    r#type: String,
    time: Option<String>,
    shard_id: i32,
    log_index: i64,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coupon: Option<Coupon>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<Hold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    imported: Option<i64>,
}

/// What can be updated about a campaign.
#[derive(Debug, Serialize)]
struct Terms {
    display_name: String,
    quota: i64,
    start_time: Option<String>,
    end_time: Option<String>,
    labels: BTreeMap<String, String>,
}

impl From<v1::Event> for Event {
    fn from(event: v1::Event) -> Self {
        let event_type = event.r#type().as_str_name();
        let is_import = event.r#type() == v1::EventType::CodesImported;
        let position = event.log_position.unwrap_or_default();
        Self {
            r#type: event_type.trim_start_matches("EVENT_TYPE_").to_owned(),
            campaign_id: event.campaign_id,
            revision: event.revision,
            history_id: event.history_id,
            time: event.time.map(time),
            shard_id: position.shard_id,
            log_index: position.index,
            request_id: event.request_id,
            terms: event.terms.map(|terms| Terms {
                display_name: terms.display_name,
                quota: terms.quota,
                start_time: terms.start_time.map(time),
                end_time: terms.end_time.map(time),
                labels: terms.labels,
            }),
            coupon: event.coupon.map(|coupon| Coupon::new(coupon, None)),
            hold: event.hold.map(|hold| Hold::new(hold, None)),
            imported: is_import.then_some(event.imported),
        }
    }
}

impl Event {
    /// The event in a line, for people.
    pub(crate) fn line(&self) -> String {
        let time = self.time.as_deref().unwrap_or("-");
        let start = format!("{:>8}  {time}  {:<19}", self.revision, self.r#type);
        let what = match self {
            Self { coupon: Some(coupon), .. } => coupon.brief(),
            Self { hold: Some(hold), .. } => hold.brief(),
            Self { terms: Some(terms), .. } => format!("quota {}", terms.quota),
            Self { imported: Some(imported), .. } => format!("{imported} codes"),
            Self { coupon: None, hold: None, terms: None, imported: None, .. } => String::new(),
        };
        format!("{start} {what}").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn a_line_has_what_happened_and_to_what() {
        let event = v1::Event {
            revision: 7,
            r#type: v1::EventType::CouponIssued.into(),
            time: Some(Timestamp { seconds: 0, nanos: 5_000 }),
            coupon: Some(v1::Coupon {
                sequence: 6,
                code: "ABC".into(),
                recipient: "ann".into(),
                ..v1::Coupon::default()
            }),
            ..v1::Event::default()
        };
        let line = Event::from(event).line();
        let expected = "       7  1970-01-01T00:00:00.000005Z  COUPON_ISSUED       #6 ABC ann";
        assert_eq!(line, expected);
        let paused = v1::Event {
            revision: 8,
            r#type: v1::EventType::CampaignPaused.into(),
            ..v1::Event::default()
        };
        assert_eq!(Event::from(paused).line(), "       8  -  CAMPAIGN_PAUSED");
        let held = v1::Event {
            revision: 9,
            r#type: v1::EventType::HoldCreated.into(),
            hold: Some(v1::Hold {
                hold_id: "H".into(),
                recipient: "bob".into(),
                ..v1::Hold::default()
            }),
            ..v1::Event::default()
        };
        assert_eq!(Event::from(held).line(), "       9  -  HOLD_CREATED        H bob");
    }
}
