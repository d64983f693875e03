//! `ImportCodesCommand`, and its answer.

use coupon_ledger::{Action, ImportCodes, LineRefusal, RefusedLine};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::{campaign_name, request_id};

pub(super) fn from_pb(import: pb::ImportCodesCommand) -> Result<Action, Malformed> {
    Ok(Action::ImportCodes(ImportCodes {
        campaign: campaign_name(&import.campaign)?,
        import_id: request_id(&import.import_id)?,
        first_line: import.first_line,
        codes: import.codes,
    }))
}

/// The answer.
pub(super) fn answer_to_pb(
    next_line: u64,
    imported: u64,
    refused: Vec<RefusedLine>,
) -> pb::CodesImported {
    let refused = refused.into_iter().map(refused_to_pb).collect();
    pb::CodesImported { next_line, imported, refused }
}

fn refused_to_pb(refused: RefusedLine) -> pb::RefusedLine {
    let line = pb::RefusedLine { line: refused.line, ..pb::RefusedLine::default() };
    match refused.reason {
        LineRefusal::Duplicate { sequence, line: first } => pb::RefusedLine {
            duplicate_of_sequence: sequence,
            duplicate_of_line: first.unwrap_or(0),
            ..line
        },
        LineRefusal::TooManyCodes => line,
        LineRefusal::Changed => pb::RefusedLine { changed: true, ..line },
    }
}
