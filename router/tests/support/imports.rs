//! Imports of the fake ledger. It has no lines that were sent before.

use std::collections::BTreeMap;

use coupon_proto::internal::{
    CampaignCode, CampaignCoupon, CodesImported, CouponIssued, ImportCodesCommand, ReadResponse,
    Refusal, RefusalReason, RefusedLine, outcome,
};

use super::ledger::{Ledger, id_of, refusal, show};

/// What was imported, by campaign.
#[derive(Default)]
pub struct Imports {
    codes: BTreeMap<String, Vec<String>>,
    /// The line that comes next, by campaign and import.
    next_lines: BTreeMap<(String, Vec<u8>), u64>,
}

impl Imports {
    /// The codes of a campaign.
    pub fn codes(&self, campaign: &str) -> &[String] {
        self.codes.get(campaign).map_or(&[], Vec::as_slice)
    }
}

impl Ledger {
    /// The coupon of a code in its campaign.
    pub(super) fn find_in(&self, shard: u32, code: &CampaignCode) -> Option<CampaignCoupon> {
        let (of, record, coupons) = self.campaigns.get(&code.campaign)?;
        if !record.imported_codes {
            let found = self.find(shard, code.number.as_ref()?)?;
            return Some(found).filter(|found| found.campaign_id == id_of(record));
        }
        let has_code = |issued: &&CouponIssued| {
            issued.coupon.as_ref().is_some_and(|coupon| coupon.imported_code == code.text)
        };
        let coupon = Some(coupons.iter().find(has_code).filter(|_| *of == shard)?.clone());
        Some(CampaignCoupon { campaign_id: id_of(record).to_owned(), coupon })
    }

    pub(super) fn import(&mut self, import: &ImportCodesCommand) -> outcome::Outcome {
        let Some((record, _)) = self.export(&import.campaign) else {
            return outcome::Outcome::Refusal(refusal(RefusalReason::CampaignNotFound));
        };
        if !record.imported_codes {
            return outcome::Outcome::Refusal(refusal(RefusalReason::CodesNotImported));
        }
        let Imports { codes, next_lines } = &mut self.imports;
        let codes = codes.entry(import.campaign.clone()).or_default();
        let id = (import.campaign.clone(), import.import_id.clone());
        let next_line = next_lines.entry(id).or_insert(1);
        let mut refused = Vec::new();
        if !import.codes.is_empty() {
            if import.first_line > *next_line {
                return outcome::Outcome::Refusal(Refusal {
                    next_line: *next_line,
                    ..refusal(RefusalReason::ImportLinesMissing)
                });
            }
            for (line, code) in (import.first_line..).zip(&import.codes) {
                match codes.iter().position(|known| known == code) {
                    _ if code.is_empty() => {}
                    Some(place) => refused.push(RefusedLine {
                        line,
                        duplicate_of_sequence: place as u64 + 1,
                        ..RefusedLine::default()
                    }),
                    None => codes.push(code.clone()),
                }
            }
            *next_line = import.first_line + import.codes.len() as u64;
        }
        let (next_line, imported) = (*next_line, codes.len() as u64);
        outcome::Outcome::CodesImported(CodesImported { next_line, imported, refused }.into())
    }
}

/// Shows the coupon of a code, and why it cannot be redeemed.
pub(super) fn show_code(response: &mut ReadResponse, found: Option<CampaignCoupon>) {
    let issued = found.as_ref().and_then(|found| found.coupon.as_ref());
    let last = issued.and_then(|issued| issued.last_change.as_ref());
    response.redemption_refusal = last.map(|change| Refusal {
        time_micros: change.time_micros,
        ..refusal(RefusalReason::AlreadyRedeemed)
    });
    show(response, found);
}
