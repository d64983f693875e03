//! What a campaign decides about its codes.

use coupon_cluster::{CodeFormat, CodePrefix, CodeScheme};
use coupon_proto::internal as pb;

use crate::Malformed;

/// A scheme as a message; `None` for the default.
pub fn scheme_to_pb(scheme: CodeScheme) -> Option<pb::CodeScheme> {
    let format = match scheme.format {
        CodeFormat::Kr => pb::CodeFormat::Kr,
        CodeFormat::Latin14 => pb::CodeFormat::Latin14,
        CodeFormat::Latin16 => pb::CodeFormat::Latin16,
        CodeFormat::Latin18 => pb::CodeFormat::Latin18,
        CodeFormat::Latin20 => pb::CodeFormat::Latin20,
    };
    (scheme != CodeScheme::default()).then(|| pb::CodeScheme {
        format: format.into(),
        prefix: scheme.prefix.as_str().to_owned(),
    })
}

/// A scheme from a message.
///
/// # Errors
///
/// When the format is not known or the prefix is malformed.
pub fn scheme_from_pb(scheme: Option<&pb::CodeScheme>) -> Result<CodeScheme, Malformed> {
    let Some(scheme) = scheme else { return Ok(CodeScheme::default()) };
    let format = match scheme.format() {
        pb::CodeFormat::Unspecified => return Err(Malformed("format of codes")),
        pb::CodeFormat::Kr => CodeFormat::Kr,
        pb::CodeFormat::Latin14 => CodeFormat::Latin14,
        pb::CodeFormat::Latin16 => CodeFormat::Latin16,
        pb::CodeFormat::Latin18 => CodeFormat::Latin18,
        pb::CodeFormat::Latin20 => CodeFormat::Latin20,
    };
    let prefix = CodePrefix::new(&scheme.prefix).map_err(|_| Malformed("prefix of codes"))?;
    Ok(CodeScheme { format, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_come_back() {
        for format in CodeFormat::ALL {
            for prefix in ["", "SUMMER-"] {
                let scheme = CodeScheme { format, prefix: CodePrefix::new(prefix).unwrap() };
                assert_eq!(scheme_from_pb(scheme_to_pb(scheme).as_ref()), Ok(scheme));
            }
        }
        assert_eq!(scheme_to_pb(CodeScheme::default()), None);
        let scheme = |format, prefix: &str| pb::CodeScheme { format, prefix: prefix.to_owned() };
        for wrong in [scheme(0, ""), scheme(6, ""), scheme(2, "summer")] {
            assert!(scheme_from_pb(Some(&wrong)).is_err(), "{wrong:?}");
        }
    }
}
