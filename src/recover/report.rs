//! The report of what is lost.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use coupon_cluster::{CampaignName, CodeCipher, CodeScheme, KeyId, RequestId, ShardId, ShardMap};
use coupon_node::recovery::{Hold, HoldState, IssuedCoupon, LogTime, Lost, LostLines};
use serde::Serialize;

/// A file that lists what each choice loses.
pub(super) struct Report {
    path: PathBuf,
    file: BufWriter<std::fs::File>,
}

/// A directory that is kept, and one that is given up for it.
pub(super) struct Sides<'a> {
    /// The name of the one that is kept.
    pub(super) kept: &'a str,
    /// The name of the other one.
    pub(super) given_up: &'a str,
    /// The shard map of the other one.
    pub(super) map: &'a ShardMap,
}

/// One line of the report.
#[derive(Default, Serialize)]
struct Line<'a> {
    keeping: &'a str,
    loses_from: &'a str,
    shard_id: u32,
    campaign_id: &'a str,
    /// The coupon's number in its campaign; 0: the campaign itself, a hold, or an import.
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient: Option<&'a str>,
    /// The request that issued the coupon or made the hold, or that made the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issue_time: Option<String>,
    /// When the hold expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// Only this is lost of the coupon, the hold or the campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change_time: Option<String>,
    /// Of this import, the lines from `first_line` to `last_line`. They can be imported again.
    #[serde(skip_serializing_if = "Option::is_none")]
    import_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_line: Option<u64>,
}

impl<'a> Line<'a> {
    fn of(lost: &Lost<'a>, map: &ShardMap) -> Self {
        match *lost {
            Lost::Campaign(campaign) => {
                Self { campaign_id: campaign.spec.name.id(), ..Self::default() }
            }
            Lost::CampaignChange(campaign) => Self {
                campaign_id: campaign.spec.name.id(),
                change: Some("UPDATE"),
                change_time: Some(time(campaign.spec.updated)),
                ..Self::default()
            },
            Lost::Coupon(campaign, issued) => Self::of_coupon(campaign, issued, map),
            Lost::CouponChange(campaign, issued, change) => Self {
                request_id: Some(change.request_id.to_string()),
                change: Some(change.kind.name()),
                change_time: Some(time(change.at)),
                ..Self::of_coupon(campaign, issued, map)
            },
            Lost::Hold(campaign, hold_id, hold) => Self::of_hold(campaign, hold_id, hold),
            Lost::HoldRelease(campaign, hold_id, hold) => {
                let line = Self::of_hold(campaign, hold_id, hold);
                let HoldState::Released { at, request_id } = hold.state else { return line };
                Self {
                    request_id: Some(request_id.to_string()),
                    change: Some("RELEASE"),
                    change_time: Some(time(at)),
                    ..line
                }
            }
            Lost::Import(campaign, import_id, LostLines { first, last }) => Self {
                campaign_id: campaign.id(),
                import_id: Some(import_id.to_string()),
                first_line: Some(first),
                last_line: Some(last),
                ..Self::default()
            },
        }
    }

    fn of_coupon(campaign: &'a CampaignName, issued: &'a IssuedCoupon, map: &ShardMap) -> Self {
        let at = (issued.code_shard, issued.coupon.counter);
        let made = || code(map, issued.code_key, issued.code_scheme, at);
        Self {
            campaign_id: campaign.id(),
            sequence: issued.sequence,
            code: issued.coupon.imported_code.clone().or_else(made),
            recipient: Some(&issued.coupon.recipient),
            request_id: Some(issued.coupon.request_id.to_string()),
            issue_time: Some(time(issued.coupon.issued_at)),
            state: Some(issued.state.name()),
            ..Self::default()
        }
    }

    fn of_hold(campaign: &'a CampaignName, hold_id: RequestId, hold: &'a Hold) -> Self {
        Self {
            campaign_id: campaign.id(),
            hold_id: Some(hold_id.to_string()),
            recipient: Some(&hold.recipient),
            request_id: Some(hold_id.to_string()),
            expire_time: Some(time(hold.expires_at)),
            ..Self::default()
        }
    }
}

impl Report {
    /// Creates the file, which must not exist.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("create the report {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Adds something that keeping one directory loses.
    pub(super) fn add(
        &mut self,
        sides: &Sides<'_>,
        shard: ShardId,
        lost: &Lost<'_>,
    ) -> anyhow::Result<()> {
        let line = Line {
            keeping: sides.kept,
            loses_from: sides.given_up,
            shard_id: shard.get(),
            ..Line::of(lost, sides.map)
        };
        serde_json::to_writer(&mut self.file, &line)?;
        self.file.write_all(b"\n").with_context(|| self.path.display().to_string())
    }

    /// Ends the report. It is on disk then.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written.with_context(|| self.path.display().to_string())
    }
}

/// A log time as text.
fn time(at: LogTime) -> String {
    let time = UNIX_EPOCH + Duration::from_micros(at.0);
    humantime::format_rfc3339_micros(time).to_string()
}

/// The code of a coupon that its campaign made, issued by a shard under a counter, as people hold it; `None` where the map does not have its
/// key.
fn code(
    map: &ShardMap,
    key: KeyId,
    scheme: CodeScheme,
    (shard, counter): (ShardId, u64),
) -> Option<String> {
    let cipher = CodeCipher::new(map.code_keys.values());
    cipher.encode(key, scheme, shard, counter).ok().map(|code| scheme.text(&code))
}
