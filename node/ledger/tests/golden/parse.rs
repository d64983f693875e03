//! The words of a script, read.

use std::collections::BTreeMap;

use coupon_cluster::{
    CampaignName, CodeFormat, CodePrefix, CodeProfile, CodeScheme, Epoch, KeyId, RequestId,
    ShardId, TenantId,
};
use coupon_ledger::{
    Action, ArchiveCampaign, CampaignCode, CodeNumber, Command, ConfirmHold, CouponCode,
    CreateCampaign, DeleteCampaign, EndCampaign, HoldCoupon, ImportCodes, Issue, LogTime,
    PauseCampaign, RedeemCoupon, ReleaseHold, ResumeCampaign, ReverseRedemption, UpdateCampaign,
    VoidCoupon,
};

/// The command that `words` say; `epoch` is the one its sender routed by.
pub(crate) fn command(words: &[&str], epoch: Epoch) -> Command {
    let action = match words {
        ["adopt", epoch, shards @ ..] => Action::AdoptRing {
            epoch: Epoch(number(epoch)),
            ring_shards: shards.iter().map(|shard| shard_id(number(shard))).collect(),
        },
        ["skip-counters"] => Action::SkipCounters,
        ["create", id, fields @ ..] => Action::CreateCampaign(create(id, &pairs(fields))),
        ["pause", id, request] => Action::PauseCampaign(PauseCampaign {
            campaign: campaign_name(id),
            request_id: request_id(request),
        }),
        ["resume", id, request] => Action::ResumeCampaign(ResumeCampaign {
            campaign: campaign_name(id),
            request_id: request_id(request),
        }),
        ["update", id, request, fields @ ..] => {
            Action::UpdateCampaign(update(id, request, &pairs(fields)))
        }
        ["end", id, request] => Action::EndCampaign(EndCampaign {
            campaign: campaign_name(id),
            request_id: request_id(request),
        }),
        ["redeem", code, request, fields @ ..] => {
            let order_ref = pairs(fields).remove("order").unwrap_or_default();
            let (code, request_id) = (coupon_code(code), request_id(request));
            Action::RedeemCoupon(RedeemCoupon { code, request_id, order_ref })
        }
        ["reverse", code, request] => {
            let (code, request_id) = (coupon_code(code), request_id(request));
            Action::ReverseRedemption(ReverseRedemption { code, request_id })
        }
        [verb @ ("void" | "void-and-return"), code, request, fields @ ..] => {
            let reason = pairs(fields).remove("reason").unwrap_or_default();
            let (code, request_id) = (coupon_code(code), request_id(request));
            let return_quota = *verb == "void-and-return";
            Action::VoidCoupon(VoidCoupon { code, request_id, reason, return_quota })
        }
        ["hold", id, recipient, request, ttl] => Action::HoldCoupon(HoldCoupon {
            campaign: campaign_name(id),
            recipient: name_of(recipient),
            request_id: request_id(request),
            ttl_micros: number(ttl),
        }),
        ["confirm", id, hold, request, metadata @ ..] => Action::ConfirmHold(ConfirmHold {
            campaign: campaign_name(id),
            hold_id: request_id(hold),
            request_id: request_id(request),
            metadata: pairs(metadata),
        }),
        ["release", id, hold, request] => Action::ReleaseHold(ReleaseHold {
            campaign: campaign_name(id),
            hold_id: request_id(hold),
            request_id: request_id(request),
        }),
        ["import", id, import, first_line, codes @ ..] => Action::ImportCodes(ImportCodes {
            campaign: campaign_name(id),
            import_id: request_id(import),
            first_line: number(first_line),
            codes: codes.iter().map(|code| name_of(code)).collect(),
        }),
        ["archive", id, request] => Action::ArchiveCampaign(ArchiveCampaign {
            campaign: campaign_name(id),
            request_id: request_id(request),
        }),
        ["delete", id, request] => Action::DeleteCampaign(DeleteCampaign {
            campaign: campaign_name(id),
            request_id: request_id(request),
        }),
        ["nonsense"] => Action::Unreadable,
        ["issue", id, recipient, request, metadata @ ..] => {
            issue(id, recipient, request_id(request), pairs(metadata))
        }
        _ => panic!("not a command: {words:?}"),
    };
    Command { epoch, action }
}

/// The command that issues a coupon.
pub(crate) fn issue(
    campaign: &str,
    recipient: &str,
    request_id: RequestId,
    metadata: BTreeMap<String, String>,
) -> Action {
    Action::Issue(Issue {
        campaign: campaign_name(campaign),
        recipient: name_of(recipient),
        request_id,
        metadata,
    })
}

/// A recipient, or a code.
fn name_of(word: &str) -> String {
    if word == "-" { String::new() } else { word.to_owned() }
}

fn create(id: &str, fields: &BTreeMap<String, String>) -> CreateCampaign {
    const FIELDS: [&str; 12] = [
        "quota", "start", "end", "limit", "ttl", "name", "label", "key", "length", "prefix",
        "request", "codes",
    ];
    let unknown = fields.keys().find(|key| !FIELDS.contains(&key.as_str()));
    assert_eq!(unknown, None, "a field that campaigns do not have");
    let field = |key: &str| fields.get(key).map(String::as_str);
    let small = |key| field(key).map(|value| u32::try_from(number(value)).unwrap());
    CreateCampaign {
        name: campaign_name(id),
        display_name: field("name").unwrap_or(id).to_owned(),
        quota: number(field("quota").expect("a campaign has a quota")),
        start: field("start").map(number).map(LogTime),
        end: field("end").map(number).map(LogTime),
        per_recipient_limit: small("limit").unwrap_or(0),
        coupon_ttl_micros: field("ttl").map(number),
        labels: field("label")
            .map(|label| ("label".to_owned(), label.to_owned()))
            .into_iter()
            .collect(),
        code_scheme: code_scheme(small("length"), field("prefix").unwrap_or_default()),
        has_imported_codes: field("codes") == Some("imported"),
        request_id: request_id(field("request").unwrap_or("r0")),
        code_key: KeyId(small("key").unwrap_or(1)),
    }
}

/// Latin codes of a length, or else codes of profile `kr`.
fn code_scheme(length: Option<u32>, prefix: &str) -> CodeScheme {
    let latin = |length| CodeFormat::new(CodeProfile::Latin, length as usize).unwrap();
    CodeScheme {
        format: length.map(latin).unwrap_or_default(),
        prefix: CodePrefix::new(prefix).unwrap(),
    }
}

fn update(id: &str, request: &str, fields: &BTreeMap<String, String>) -> UpdateCampaign {
    const FIELDS: [&str; 8] = ["quota", "start", "end", "name", "label", "limit", "ttl", "etag"];
    let unknown = fields.keys().find(|key| !FIELDS.contains(&key.as_str()));
    assert_eq!(unknown, None, "a field that cannot be changed");
    let field = |key: &str| fields.get(key).map(String::as_str);
    let unless = |none: &str, word: &str| (word != none).then(|| number(word));
    let label = |word: &str| {
        let label = (word != "-").then(|| ("label".to_owned(), word.to_owned()));
        label.into_iter().collect()
    };
    UpdateCampaign {
        campaign: campaign_name(id),
        request_id: request_id(request),
        etag: field("etag").unwrap_or_default().to_owned(),
        display_name: field("name").map(str::to_owned),
        quota: field("quota").map(number),
        start: field("start").map(|start| unless("now", start).map(LogTime)),
        end: field("end").map(|end| unless("never", end).map(LogTime)),
        labels: field("label").map(label),
        per_recipient_limit: field("limit").map(|limit| u32::try_from(number(limit)).unwrap()),
        coupon_ttl_micros: field("ttl").map(|ttl| unless("never", ttl)),
    }
}

fn pairs(words: &[&str]) -> BTreeMap<String, String> {
    let pair = |word: &&str| {
        let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("not a pair: {word}"));
        (key.to_owned(), value.to_owned())
    };
    words.iter().map(pair).collect()
}

/// A number, in which underscores may group the digits; `max` is the greatest.
pub(crate) fn number(word: &str) -> u64 {
    if word == "max" {
        return u64::MAX;
    }
    word.replace('_', "").parse().unwrap_or_else(|_| panic!("not a number: {word}"))
}

pub(crate) fn campaign_name(word: &str) -> CampaignName {
    CampaignName::new(&TenantId::default(), word).unwrap()
}

pub(crate) fn shard_id(number: u64) -> ShardId {
    ShardId::new(u32::try_from(number).unwrap()).unwrap()
}

/// A code, perhaps with its campaign.
fn coupon_code(word: &str) -> CouponCode {
    let Some((campaign, code)) = word.split_once(':') else {
        return code_number(word).unwrap_or_else(|| panic!("not a code: {word}")).into();
    };
    CouponCode::OfCampaign(CampaignCode {
        campaign: campaign_name(campaign),
        text: code.to_owned(),
        number: code_number(code),
    })
}

/// What a code stands for: shard, counter, and key unless it is 1.
fn code_number(word: &str) -> Option<CodeNumber> {
    let numbers: Vec<&str> = word.split('/').collect();
    let (shard, counter, key) = match numbers[..] {
        [shard, counter] => (number(shard), number(counter), 1),
        [shard, counter, key] => (number(shard), number(counter), number(key)),
        _ => return None,
    };
    let (tenant, key) = (TenantId::default(), KeyId(u32::try_from(key).unwrap()));
    let scheme = CodeScheme::default();
    Some(CodeNumber { tenant, shard: shard_id(shard), key, counter, scheme })
}

fn request_id(word: &str) -> RequestId {
    request(number(word.strip_prefix('r').unwrap_or_else(|| panic!("not a request: {word}"))))
}

/// The request id that scripts call `r` and the number.
pub(crate) fn request(number: u64) -> RequestId {
    let mut bytes = [0xff; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    RequestId::from_bytes(&bytes).unwrap()
}
