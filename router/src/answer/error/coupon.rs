//! Errors about coupons and their codes.

use coupon_cluster::CodeError;
use coupon_proto::internal::Refusal;
use coupon_proto::reason::Reason;
use tonic::Code;

use super::{Report, violation};
use crate::answer::convert::timestamp;

/// One answer for every code and number that leads to no coupon, so that nothing is learnt from it.
pub(super) fn not_found() -> Report {
    Report::new(Code::NotFound, Reason::CouponNotFound, "there is no such coupon")
}

pub(super) fn already_redeemed(refusal: &Refusal) -> Report {
    let message = "the coupon has already been redeemed";
    Report::new(Code::FailedPrecondition, Reason::AlreadyRedeemed, message)
        .with("redeem_time", timestamp(refusal.time_micros))
}

pub(super) fn voided(refusal: &Refusal) -> Report {
    let message = "the coupon has been voided";
    Report::new(Code::FailedPrecondition, Reason::CouponVoided, message)
        .with("void_time", timestamp(refusal.time_micros))
}

pub(super) fn expired(refusal: &Refusal) -> Report {
    let message = "the coupon has expired";
    Report::new(Code::FailedPrecondition, Reason::CouponExpired, message)
        .with("expire_time", timestamp(refusal.time_micros))
        .with("server_time", timestamp(refusal.log_time_micros))
}

pub(super) fn not_redeemed() -> Report {
    Report::new(Code::FailedPrecondition, Reason::NotRedeemed, "the coupon is not redeemed")
}

/// What is wrong with a code. It depends on nothing but the code.
pub(super) fn bad_code(error: &CodeError) -> Report {
    let reason = match error {
        CodeError::UnknownSymbol { .. } | CodeError::WrongLength { .. } => Reason::CodeMalformed,
        CodeError::CheckFailed => Reason::CodeCheckFailed,
    };
    let message = format!("code: {error} (one that was imported needs the campaign_id as well)");
    let report = Report::new(Code::InvalidArgument, reason, message)
        .violations(vec![violation("code", error.to_string())]);
    match error {
        CodeError::UnknownSymbol { position, nearest, .. } => {
            let report = report.with("position", position);
            nearest.iter().fold(report, |report, nearest| report.with("nearest", nearest))
        }
        CodeError::WrongLength { .. } | CodeError::CheckFailed => report,
    }
}

#[cfg(test)]
mod tests {
    use coupon_cluster::Code as CouponCode;
    use tonic_types::StatusExt as _;

    use crate::answer::error::Fault;

    #[test]
    fn a_bad_code_says_what_is_wrong_with_it() {
        let table = [
            ("0 0-강0000000", "CODE_MALFORMED", &[("nearest", "가"), ("position", "3")][..]),
            ("000000000?", "CODE_MALFORMED", &[("position", "10")]),
            ("000", "CODE_MALFORMED", &[]),
            ("0000000001", "CODE_CHECK_FAILED", &[]),
        ];
        for (text, reason, metadata) in table {
            let status = Fault::Code(CouponCode::parse(text).unwrap_err()).into_status();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.reason, reason, "{text}");
            let metadata = metadata.iter().map(|(key, value)| ((*key).into(), (*value).into()));
            assert_eq!(info.metadata, metadata.collect());
            let fields = status.get_details_bad_request().unwrap().field_violations;
            assert_eq!(fields.len(), 1);
            assert_eq!(fields[0].field, "code");
        }
    }
}
