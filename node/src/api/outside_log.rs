//! The mistake of two mutants: a leader that decides by what it has applied so far, while commands
//! that it has proposed already are still on their way through the log.

use bytes::Bytes;
use coupon_ledger::mutants::{self, Mutant};
use coupon_ledger::{Action, Issue, Outcome, Refusal};
use coupon_proto::internal as pb;
use tokio::sync::oneshot;

use crate::codec::command::CommandReader;
use crate::codec::outcome;
use crate::shard::submission::Submission;
use crate::storage::snapshot::ReplicaKey;
use crate::storage::view::{CouponPlace, LedgerView};
use crate::storage::{Storage, StorageError, fatal};

/// Answers the commands that the applied state speaks against; what is returned are the others.
pub(super) fn screen(storage: &Storage, key: ReplicaKey, submission: Submission) -> Submission {
    if ![Mutant::QuotaOutsideLog, Mutant::LimitOutsideLog].into_iter().any(mutants::is) {
        return submission;
    }
    let view = LedgerView::new(storage, key.shard, key.replica);
    let view = view.unwrap_or_else(|fault| fatal::abort("opening a view", &fault));
    let (mut proposed, mut screened) = (Vec::new(), Vec::new());
    for command in submission.commands {
        let refused = refusal(&view, command.bytes.clone());
        let refused = refused.unwrap_or_else(|fault| fatal::abort("reading state", &fault));
        if refused.is_none() {
            proposed.push(command);
        }
        screened.push(refused);
    }
    let (replies, decided) = oneshot::channel::<Vec<pb::Reply>>();
    let caller = submission.replies;
    tokio::spawn(async move {
        // Without an answer to what was proposed there is none at all, which counts as unknown.
        let Ok(decided) = decided.await else { return };
        let mut decided = decided.into_iter();
        let all = screened.into_iter().filter_map(|refused| match refused {
            Some(refusal) => Some(reply(refusal)),
            None => decided.next(),
        });
        // A caller that went away needs no answer.
        let _ = caller.send(all.collect());
    });
    let Submission { leadership, stream, bytes, .. } = submission;
    Submission { leadership, stream, commands: proposed, bytes, replies }
}

/// What speaks against a command in the applied state.
fn refusal(view: &LedgerView<'_>, command: Bytes) -> Result<Option<Refusal>, StorageError> {
    let command = CommandReader::default().read(command);
    let Action::Issue(Issue { campaign, recipient, .. }) = command.action else { return Ok(None) };
    let Some(campaign) = view.campaign(&campaign)? else { return Ok(None) };
    if mutants::is(Mutant::QuotaOutsideLog) {
        return Ok((campaign.remaining() == 0).then_some(Refusal::SoldOut));
    }
    let limit = usize::try_from(campaign.spec.per_recipient_limit).unwrap_or(usize::MAX);
    let number = campaign.spec.number;
    let before = CouponPlace { campaign_number: number, sequence: 0 };
    let mut held = Vec::new();
    for place in view.claimed_by(&recipient, before, limit)? {
        if place.campaign_number == number {
            held.extend(view.held(&campaign, place.sequence, &recipient)?);
        }
    }
    let is_reached = limit > 0 && held.len() >= limit;
    let (hold_ids, now) = (Vec::new(), view.shard_state()?.log_time);
    Ok(is_reached.then_some(Refusal::RecipientLimitReached { held, hold_ids, now }))
}

fn reply(refusal: Refusal) -> pb::Reply {
    let outcome = outcome::outcome_to_pb(Outcome::from(refusal));
    pb::Reply { reply: outcome.map(pb::reply::Reply::Outcome) }
}
