//! Refusals to import codes.

use coupon_proto::internal::Refusal;
use coupon_proto::reason::Reason;
use tonic::Code;

use super::Report;

pub(super) fn codes_not_imported() -> Report {
    let message = "the campaign makes its codes itself: create one with code_source IMPORTED";
    Report::new(Code::FailedPrecondition, Reason::CodesNotImported, message)
}

pub(super) fn out_of_codes() -> Report {
    let message = "no more coupons available: all imported codes are issued";
    Report::new(Code::FailedPrecondition, Reason::OutOfCodes, message)
}

pub(super) fn lines_missing(refusal: &Refusal) -> Report {
    let next_line = refusal.next_line;
    let message = format!("lines are missing before first_line: go on with line {next_line}");
    Report::new(Code::FailedPrecondition, Reason::ImportLinesMissing, message)
        .with("next_line", next_line)
}

pub(super) fn too_many() -> Report {
    let message =
        "the campaign has 1,000 imports, the most it may have: append the codes to one of them";
    Report::new(Code::FailedPrecondition, Reason::TooManyImports, message)
}
