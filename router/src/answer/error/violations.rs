//! What is said of fields that are not what they must be. It travels in a trailer, and clients take few bytes of those.

use prost::Message as _;
use tonic_types::pb::bad_request::FieldViolation;

/// Maximum size of all violations of an error. In base64, and beside the rest of the error, they fit into the 8 KiB that
/// clients take of trailers.
const BYTES_MAX: usize = 3_500;

/// Maximum size of one description. Those of our own are shorter; some repeat what the caller wrote.
const DESCRIPTION_BYTES_MAX: usize = 500;

/// What a violation takes in its list besides itself.
const ITEM_BYTES: usize = 3;

/// The description of a field that is not what it must be.
pub(crate) fn violation(
    field: impl Into<String>,
    description: impl Into<String>,
) -> FieldViolation {
    FieldViolation {
        field: field.into(),
        description: description.into(),
        ..FieldViolation::default()
    }
}

/// The first ones, as many as an error has room for, and how many more there are.
pub(super) fn bounded(mut violations: Vec<FieldViolation>) -> Vec<FieldViolation> {
    let (mut fitting, mut bytes, all) = (0, 0, violations.len());
    for violation in &mut violations {
        let description = &mut violation.description;
        description.truncate(description.floor_char_boundary(DESCRIPTION_BYTES_MAX));
        bytes += ITEM_BYTES + violation.encoded_len();
        if bytes > BYTES_MAX {
            break;
        }
        fitting += 1;
    }
    if fitting < all {
        violations.truncate(fitting);
        let more = format!("{} more violations are not shown", all - fitting);
        violations.push(violation("", more));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_beyond_what_a_trailer_has_room_for_are_counted() {
        let all: Vec<_> = (0..300).map(|at| violation(format!("f[{at}]"), "is bad")).collect();
        let shown = bounded(all.clone());
        let count = shown.len() - 1;
        assert_eq!(shown[..count], all[..count]);
        assert_eq!(
            shown[count].description,
            format!("{} more violations are not shown", 300 - count)
        );
        let bytes: usize = shown.iter().map(|one| ITEM_BYTES + one.encoded_len()).sum();
        assert!((3_400..3_600).contains(&bytes), "{bytes}");
        assert_eq!(bounded(all[..count].to_vec()), all[..count], "all of them fit");
    }

    #[test]
    fn a_long_description_is_cut_between_characters() {
        let shown = bounded(vec![violation("f", "\u{D55C}".repeat(1_000))]);
        assert_eq!(shown, [violation("f", "\u{D55C}".repeat(DESCRIPTION_BYTES_MAX / 3))]);
    }
}
