//! `HoldRecord`: a hold as it is kept on disk, and as it travels.

use coupon_ledger::{Hold, HoldState, LogTime};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::request_id;
use pb::hold_record::End;

/// A hold as it is kept on disk.
pub fn to_pb(hold: &Hold) -> pb::HoldRecord {
    let end = match hold.state {
        HoldState::Open => None,
        HoldState::Confirmed { at, request_id, sequence } => {
            let (time_micros, request_id) = (at.0, request_id.as_bytes().to_vec());
            Some(End::Confirmation(pb::HoldConfirmation { time_micros, request_id, sequence }))
        }
        HoldState::Released { at, request_id } => {
            let (time_micros, request_id) = (at.0, request_id.as_bytes().to_vec());
            Some(End::Release(pb::HoldRelease { time_micros, request_id }))
        }
    };
    pb::HoldRecord {
        recipient: hold.recipient.clone(),
        hold_micros: hold.held_at.0,
        expire_micros: hold.expires_at.0,
        end,
    }
}

/// A hold from its record.
///
/// # Errors
///
/// When a request id is malformed.
pub fn from_pb(record: pb::HoldRecord) -> Result<Hold, Malformed> {
    let state = match record.end {
        None => HoldState::Open,
        Some(End::Confirmation(end)) => HoldState::Confirmed {
            at: LogTime(end.time_micros),
            request_id: request_id(&end.request_id)?,
            sequence: end.sequence,
        },
        Some(End::Release(end)) => HoldState::Released {
            at: LogTime(end.time_micros),
            request_id: request_id(&end.request_id)?,
        },
    };
    Ok(Hold {
        recipient: record.recipient,
        held_at: LogTime(record.hold_micros),
        expires_at: LogTime(record.expire_micros),
        state,
    })
}
