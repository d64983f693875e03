//! Campaigns and coupons as they are printed. The names of the JSON fields are those of the API.

mod event;

use std::collections::BTreeMap;
use std::time::SystemTime;

use coupon_cluster::NumericId;
use coupon_proto::v1;
use prost_types::Timestamp;
use serde::Serialize;

use crate::output::table;
pub(crate) use event::Event;

/// A campaign.
#[derive(Debug, Serialize)]
pub(crate) struct Campaign {
    campaign_id: String,
    numeric_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<u32>,
    display_name: String,
    state: String,
    quota: i64,
    issued: i64,
    redeemed: i64,
    voided: i64,
    returned: i64,
    held: i64,
    remaining: i64,
    per_recipient_limit: i32,
    start_time: Option<String>,
    end_time: Option<String>,
    coupon_ttl: Option<String>,
    labels: BTreeMap<String, String>,
    create_time: Option<String>,
    update_time: Option<String>,
    open_time: Option<String>,
    sold_out_time: Option<String>,
    revision: i64,
    code_source: String,
    imported: i64,
    code_profile: String,
    code_prefix: String,
    code_length: i32,
    etag: String,
}

impl From<v1::Campaign> for Campaign {
    fn from(campaign: v1::Campaign) -> Self {
        let state = campaign.state().as_str_name();
        let source = campaign.code_source().as_str_name().trim_start_matches("CODE_SOURCE_");
        let profile = match campaign.code_profile() {
            v1::CodeProfile::Unspecified => "",
            profile @ (v1::CodeProfile::Kr | v1::CodeProfile::Latin) => {
                profile.as_str_name().trim_start_matches("CODE_PROFILE_")
            }
        };
        let ttl = campaign.coupon_ttl.and_then(|ttl| std::time::Duration::try_from(ttl).ok());
        Self {
            state: state.trim_start_matches("CAMPAIGN_STATE_").to_owned(),
            quota: campaign.quota,
            issued: campaign.issued,
            redeemed: campaign.redeemed,
            voided: campaign.voided,
            returned: campaign.returned,
            held: campaign.held,
            remaining: campaign.remaining,
            per_recipient_limit: campaign.per_recipient_limit,
            start_time: campaign.start_time.map(time),
            end_time: campaign.end_time.map(time),
            coupon_ttl: ttl.map(|ttl| humantime::format_duration(ttl).to_string()),
            labels: campaign.labels,
            create_time: campaign.create_time.map(time),
            update_time: campaign.update_time.map(time),
            open_time: campaign.open_time.map(time),
            sold_out_time: campaign.sold_out_time.map(time),
            revision: campaign.revision,
            code_source: source.to_owned(),
            imported: campaign.imported,
            code_profile: profile.to_lowercase(),
            code_length: campaign.code_length,
            code_prefix: campaign.code_prefix,
            etag: campaign.etag,
            display_name: campaign.display_name,
            campaign_id: campaign.campaign_id,
            numeric_id: campaign.numeric_id,
            shard: NumericId::from_i64(campaign.numeric_id).map(|id| id.shard.get()),
        }
    }
}

impl Campaign {
    /// All of it, for people.
    pub(crate) fn sheet(&self) -> String {
        let labels: Vec<String> =
            self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let limit = self.per_recipient_limit;
        let prefix = &self.code_prefix;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix} and ") };
        let codes = match (self.code_source.as_str(), self.code_length) {
            ("IMPORTED", _) => Some(format!("{} imported", self.imported)),
            (_, 0) => None,
            (_, length) => Some(format!("{prefix}{length} symbols, {}", self.code_profile)),
        };
        sheet(&[
            ("campaign", Some(self.campaign_id.clone())),
            ("numeric id", (self.numeric_id > 0).then(|| self.numeric_id.to_string())),
            ("shard", self.shard.map(|shard| shard.to_string())),
            ("name", Some(self.display_name.clone()).filter(|name| !name.is_empty())),
            ("state", Some(self.state.clone())),
            ("issued", Some(format!("{} of {}", self.issued, self.quota))),
            ("held", (self.held > 0).then(|| self.held.to_string())),
            ("redeemed", (self.redeemed > 0).then(|| self.redeemed.to_string())),
            ("voided", (self.voided > 0).then(|| self.voided_text())),
            ("per recipient", (limit > 0).then(|| limit.to_string())),
            ("starts", self.start_time.clone()),
            ("ends", self.end_time.clone()),
            ("coupons last", self.coupon_ttl.clone()),
            ("codes", codes),
            ("labels", Some(labels.join(", ")).filter(|labels| !labels.is_empty())),
            ("created", self.create_time.clone()),
            ("changed", self.update_time.clone()),
            ("first issued", self.open_time.clone()),
            ("sold out", self.sold_out_time.clone()),
            ("etag", Some(self.etag.clone()).filter(|etag| !etag.is_empty())),
        ])
    }
}

impl Campaign {
    /// What changes most, in a line.
    pub(crate) fn change(&self) -> String {
        let Self { revision, state, issued, quota, held, remaining, redeemed, voided, .. } = self;
        format!(
            "revision {revision}: {state}, {issued} of {quota} issued, {held} held, {remaining} left, \
             {redeemed} redeemed, {voided} voided"
        )
    }

    fn voided_text(&self) -> String {
        match self.returned {
            0 => self.voided.to_string(),
            returned => format!("{}, of which {returned} returned their quota", self.voided),
        }
    }
}

/// Campaigns, one a line.
pub(crate) fn campaigns(campaigns: &[Campaign]) -> comfy_table::Table {
    let mut table = table(&["CAMPAIGN", "STATE", "ISSUED", "QUOTA", "STARTS", "ENDS"]);
    for campaign in campaigns {
        table.add_row([
            campaign.campaign_id.as_str(),
            &campaign.state,
            &campaign.issued.to_string(),
            &campaign.quota.to_string(),
            campaign.start_time.as_deref().unwrap_or("-"),
            campaign.end_time.as_deref().unwrap_or("-"),
        ]);
    }
    table
}

/// Coupons, one a line.
pub(crate) fn coupons(coupons: &[Coupon]) -> comfy_table::Table {
    let mut table = table(&["CODE", "CAMPAIGN", "SEQUENCE", "STATE", "ISSUED", "EXPIRES"]);
    for coupon in coupons {
        table.add_row([
            coupon.code.as_str(),
            &coupon.campaign_id,
            &coupon.sequence.to_string(),
            &coupon.state,
            coupon.issue_time.as_deref().unwrap_or("-"),
            coupon.expire_time.as_deref().unwrap_or("-"),
        ]);
    }
    table
}

/// A coupon.
#[derive(Debug, Serialize)]
pub(crate) struct Coupon {
    campaign_id: String,
    code: String,
    sequence: i64,
    recipient: String,
    state: String,
    issue_time: Option<String>,
    expire_time: Option<String>,
    redeem_time: Option<String>,
    order_ref: String,
    void_time: Option<String>,
    void_reason: String,
    quota_returned: bool,
    metadata: BTreeMap<String, String>,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<bool>,
}

impl Coupon {
    /// A coupon. `replayed` says whether an earlier request had done what was asked for, if anything was.
    pub(crate) fn new(coupon: v1::Coupon, replayed: Option<bool>) -> Self {
        let state = coupon.state().as_str_name();
        Self {
            state: state.trim_start_matches("COUPON_STATE_").to_owned(),
            sequence: coupon.sequence,
            issue_time: coupon.issue_time.map(time),
            expire_time: coupon.expire_time.map(time),
            redeem_time: coupon.redeem_time.map(time),
            order_ref: coupon.order_ref,
            void_time: coupon.void_time.map(time),
            void_reason: coupon.void_reason,
            quota_returned: coupon.quota_returned,
            campaign_id: coupon.campaign_id,
            code: coupon.code,
            recipient: coupon.recipient,
            metadata: coupon.metadata,
            request_id: coupon.request_id,
            replayed,
        }
    }

    /// The names of the fields of [`Coupon::csv`].
    pub(crate) const CSV_HEADER: [&str; 14] = [
        "code",
        "campaign_id",
        "sequence",
        "recipient",
        "state",
        "issue_time",
        "expire_time",
        "redeem_time",
        "order_ref",
        "void_time",
        "void_reason",
        "quota_returned",
        "request_id",
        "metadata",
    ];

    /// The coupon as a row of text. Its metadata is a JSON object, or nothing.
    ///
    /// # Errors
    /// Never: texts can be written as JSON.
    pub(crate) fn csv(&self) -> serde_json::Result<[String; 14]> {
        let text = |time: &Option<String>| time.clone().unwrap_or_default();
        let metadata = if self.metadata.is_empty() {
            String::new()
        } else {
            serde_json::to_string(&self.metadata)?
        };
        Ok([
            self.code.clone(),
            self.campaign_id.clone(),
            self.sequence.to_string(),
            self.recipient.clone(),
            self.state.clone(),
            text(&self.issue_time),
            text(&self.expire_time),
            text(&self.redeem_time),
            self.order_ref.clone(),
            text(&self.void_time),
            self.void_reason.clone(),
            self.quota_returned.to_string(),
            self.request_id.clone(),
            metadata,
        ])
    }

    /// All of it, for people.
    pub(crate) fn sheet(&self) -> String {
        sheet(&[
            ("code", Some(self.code.clone())),
            ("campaign", Some(self.campaign_id.clone())),
            ("sequence", (self.sequence > 0).then(|| self.sequence.to_string())),
            ("state", Some(self.state.clone())),
            ("recipient", text(&self.recipient)),
            ("issued", self.issue_time.clone()),
            ("expires", self.expire_time.clone()),
            ("redeemed", self.redeem_time.clone()),
            ("order", text(&self.order_ref)),
            ("voided", self.void_time.clone()),
            ("reason", text(&self.void_reason)),
            ("quota", self.quota_returned.then(|| "returned".to_owned())),
            ("request id", text(&self.request_id)),
            ("replayed", (self.replayed == Some(true)).then(|| REPLAYED.to_owned())),
        ])
    }
}

impl Coupon {
    /// Its number, its code and who holds it.
    fn brief(&self) -> String {
        let Self { sequence, code, recipient, .. } = self;
        format!("#{sequence} {code} {recipient}").trim_end().to_owned()
    }
}

/// A hold.
#[derive(Debug, Serialize)]
pub(crate) struct Hold {
    campaign_id: String,
    hold_id: String,
    recipient: String,
    state: String,
    create_time: Option<String>,
    expire_time: Option<String>,
    confirm_time: Option<String>,
    sequence: i64,
    release_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<bool>,
}

impl Hold {
    /// Its id and its recipient.
    fn brief(&self) -> String {
        format!("{} {}", self.hold_id, self.recipient).trim_end().to_owned()
    }

    /// A hold. `replayed` says whether an earlier request had done what was asked for, if anything was.
    pub(crate) fn new(hold: v1::Hold, replayed: Option<bool>) -> Self {
        let state = hold.state().as_str_name();
        Self {
            state: state.trim_start_matches("HOLD_STATE_").to_owned(),
            create_time: hold.create_time.map(time),
            expire_time: hold.expire_time.map(time),
            confirm_time: hold.confirm_time.map(time),
            sequence: hold.sequence,
            release_time: hold.release_time.map(time),
            campaign_id: hold.campaign_id,
            hold_id: hold.hold_id,
            recipient: hold.recipient,
            replayed,
        }
    }

    /// All of it, for people.
    pub(crate) fn sheet(&self) -> String {
        sheet(&[
            ("hold", Some(self.hold_id.clone())),
            ("campaign", Some(self.campaign_id.clone())),
            ("state", Some(self.state.clone())),
            ("recipient", text(&self.recipient)),
            ("held", self.create_time.clone()),
            ("expires", self.expire_time.clone()),
            ("confirmed", self.confirm_time.clone()),
            ("sequence", (self.sequence > 0).then(|| self.sequence.to_string())),
            ("released", self.release_time.clone()),
            ("replayed", (self.replayed == Some(true)).then(|| REPLAYED.to_owned())),
        ])
    }
}

/// What is said of an answer that an earlier request got as well.
const REPLAYED: &str = "by an earlier request with this request id";

/// A text that is there.
fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Names and values in two columns, without those that have no value.
fn sheet(rows: &[(&str, Option<String>)]) -> String {
    let shown = rows.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let lines: Vec<String> = shown.map(|(name, value)| format!("{name:<15}{value}")).collect();
    lines.join("\n")
}

/// A time as RFC 3339 has it.
fn time(time: Timestamp) -> String {
    match SystemTime::try_from(time) {
        Ok(time) => humantime::format_rfc3339_micros(time).to_string(),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_shows_what_there_is() {
        let campaign = v1::Campaign {
            campaign_id: "spring".into(),
            quota: 10,
            issued: 3,
            state: v1::CampaignState::Active.into(),
            start_time: Some(Timestamp { seconds: 0, nanos: 5_000 }),
            ..v1::Campaign::default()
        };
        assert_eq!(
            Campaign::from(campaign).sheet(),
            "campaign       spring\nstate          ACTIVE\nissued         3 of 10\n\
             starts         1970-01-01T00:00:00.000005Z"
        );
    }
}
