//! Which fields an update changes (AIP-134, AIP-161). Pure.

use coupon_proto::v1::Campaign;
use prost_types::FieldMask;

use super::check::Check;

/// Fields of a campaign, all of which an update with the mask `*` replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UpdateMask {
    pub(super) display_name: bool,
    pub(super) quota: bool,
    pub(super) start_time: bool,
    pub(super) end_time: bool,
    pub(super) labels: bool,
    /// Cannot be changed. An update that has it must have the value that there is.
    pub(super) per_recipient_limit: bool,
    /// As the one before.
    pub(super) coupon_ttl: bool,
}

/// Maximum number of wrong paths that an answer names.
const WRONG_PATHS_MAX: usize = 8;
/// Maximum number of characters of a wrong path in an answer.
const PATH_CHARS_MAX: usize = 63;

impl UpdateMask {
    const ALL: Self = Self {
        display_name: true,
        quota: true,
        start_time: true,
        end_time: true,
        labels: true,
        per_recipient_limit: true,
        coupon_ttl: true,
    };

    /// The fields that a mask names; without a mask, those that are set.
    pub(super) fn read(campaign: &Campaign, mask: Option<&FieldMask>, check: &mut Check) -> Self {
        let paths = mask.map_or(&[][..], |mask| &mask.paths);
        let fields = match paths {
            [] => Self::set_in(campaign),
            [all] if all == "*" => Self::ALL,
            _ => Self::named(paths, check),
        };
        if paths.is_empty() && fields == Self::default() {
            check.fail("update_mask", "must name a field to change, or the campaign must set one");
        }
        fields
    }

    fn set_in(campaign: &Campaign) -> Self {
        Self {
            display_name: !campaign.display_name.is_empty(),
            quota: campaign.quota != 0,
            start_time: campaign.start_time.is_some(),
            end_time: campaign.end_time.is_some(),
            labels: !campaign.labels.is_empty(),
            per_recipient_limit: campaign.per_recipient_limit != 0,
            coupon_ttl: campaign.coupon_ttl.is_some(),
        }
    }

    fn named(paths: &[String], check: &mut Check) -> Self {
        let mut fields = Self::default();
        let mut wrong = Vec::new();
        for path in paths {
            let field = match path.as_str() {
                "display_name" => &mut fields.display_name,
                "quota" => &mut fields.quota,
                "start_time" => &mut fields.start_time,
                "end_time" => &mut fields.end_time,
                "labels" => &mut fields.labels,
                _ => {
                    wrong.push(path);
                    continue;
                }
            };
            *field = true;
        }
        for path in wrong.into_iter().take(WRONG_PATHS_MAX) {
            let shown: String = path.chars().take(PATH_CHARS_MAX).collect();
            check.fail("update_mask", format!("{shown}: {}", why_wrong(path)));
        }
        fields
    }
}

/// Why a path is not one of a field that can be changed.
fn why_wrong(path: &str) -> &'static str {
    match path {
        "per_recipient_limit" | "coupon_ttl" => {
            "cannot be changed, because issued coupons depend on it: create another campaign"
        }
        "*" => "must be the only path",
        _ if path.starts_with("labels.") => "use labels, which replaces all of them",
        _ => "cannot be changed: use display_name, quota, start_time, end_time, labels or *",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(campaign: &Campaign, paths: &[&str]) -> (UpdateMask, Vec<String>) {
        let mask = FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() };
        let mut check = Check::default();
        let fields = UpdateMask::read(campaign, Some(&mask), &mut check);
        (fields, check.descriptions())
    }

    #[test]
    fn without_a_mask_the_fields_that_are_set_are_changed() {
        let campaign = Campaign { quota: 5, ..Default::default() };
        let (fields, wrong) = read(&campaign, &[]);
        assert_eq!(fields, UpdateMask { quota: true, ..Default::default() });
        assert!(wrong.is_empty());
        assert_eq!(read(&Campaign::default(), &[]).1.len(), 1);
    }

    #[test]
    fn a_mask_names_fields_or_all_of_them() {
        let (fields, wrong) = read(&Campaign::default(), &["end_time", "labels", "end_time"]);
        assert_eq!(fields, UpdateMask { end_time: true, labels: true, ..Default::default() });
        assert!(wrong.is_empty());
        assert_eq!(read(&Campaign::default(), &["*"]), (UpdateMask::ALL, Vec::new()));
    }

    #[test]
    fn what_cannot_be_changed_is_named() {
        for path in ["*", "per_recipient_limit", "labels.a", "state", "campaign_id", "nonsense"] {
            let (_, wrong) = read(&Campaign::default(), &["quota", path]);
            assert_eq!(wrong.len(), 1, "{path}");
            assert!(wrong[0].starts_with(&format!("{path}: ")), "{wrong:?}");
        }
        let many = vec!["x".repeat(1_000); 100];
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let (_, wrong) = read(&Campaign::default(), &many);
        assert_eq!(wrong.len(), WRONG_PATHS_MAX);
        assert!(wrong.iter().all(|text| text.len() < 200));
    }
}
