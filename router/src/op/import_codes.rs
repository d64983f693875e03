//! `ImportCodes`: codes made elsewhere, over one call.
//!
//! A task works on one message at a time. Lines have numbers, and the ledger knows those it has seen, so a message may
//! come any number of times, over any number of streams.

use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::CampaignName;
use coupon_proto::internal::command::Operation;
use coupon_proto::internal::{self, CodesImported, ImportCodesCommand, outcome};
use coupon_proto::v1::{ImportCodesRequest, ImportCodesResponse, LineRefusalReason, RefusedLine};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::check::Check;
use super::code::can_be_imported;
use super::issue_stream::explain;
use super::limits::{Permits, Stopping};
use super::memory::RequestMemory;
use crate::answer::error::Fault;
use crate::shards::shard_client::ShardClient;

/// Maximum number of codes of a message.
const CODES_MAX: usize = 1_000;

/// How long a stream waits for its caller to send a message, or to take an answer.
const CALLER_PATIENCE: Duration = Duration::from_secs(30);

/// Time for a message: that of a call without a deadline.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a caller receives.
pub(super) type Answers = BoxStream<'static, Result<ImportCodesResponse, Status>>;

/// Imports codes until the caller has no more, or the router stops.
pub(super) fn import_codes(
    shards: &Arc<ShardClient>,
    permits: &Permits,
    messages: Streaming<ImportCodesRequest>,
    memory: RequestMemory,
    stopping: Stopping,
) -> Answers {
    let (answers, receiver) = mpsc::channel(2);
    let (shards, permits) = (Arc::clone(shards), permits.clone());
    tokio::spawn(run(shards, permits, messages, memory, stopping, answers));
    ReceiverStream::new(receiver).boxed()
}

async fn run(
    shards: Arc<ShardClient>,
    permits: Permits,
    mut messages: Streaming<ImportCodesRequest>,
    memory: RequestMemory,
    mut stopping: Stopping,
    answers: mpsc::Sender<Result<ImportCodesResponse, Status>>,
) {
    // There is always room to say that the router stops: a caller takes a good end for that of the import.
    let Ok(last_word) = answers.clone().try_reserve_owned() else { return };
    loop {
        let message = tokio::select! {
            biased;
            () = answers.closed() => return,
            () = stopping.wait() => {
                last_word.send(Err(Fault::StreamEnded.into_status()));
                return;
            }
            message = timeout(CALLER_PATIENCE, messages.message()) => message,
        };
        // Until the answer is on its way.
        let mut occupied = memory.occupy();
        let answer = match message {
            Ok(Ok(Some(message))) if occupied.set(2 * message.encoded_len()) => {
                import(&shards, &permits, message).await.map_err(Fault::into_status)
            }
            Ok(Ok(Some(_))) => Err(Fault::Overloaded.into_status()),
            Ok(Ok(None)) => return,
            Ok(Err(status)) => Err(explain(status)),
            Err(_) => Err(Fault::DeadlineExceeded.into_status()),
        };
        let is_over = answer.is_err();
        let sent = answers.send_timeout(answer, CALLER_PATIENCE).await;
        if is_over || sent.is_err() {
            return;
        }
    }
}

/// Imports the codes of a message, if there is a permit for it.
///
/// # Errors
/// [`Fault`].
async fn import(
    shards: &ShardClient,
    permits: &Permits,
    message: ImportCodesRequest,
) -> Result<ImportCodesResponse, Fault> {
    let _permit = permits.for_request().ok_or(Fault::Overloaded)?;
    let deadline = Instant::now() + MESSAGE_TIMEOUT;
    let Lines { campaign, command, malformed } = lines(message)?;
    let mut operation = Operation::ImportCodes(command);
    let (outcome, topology) = shards.propose(&campaign, &mut operation, deadline).await?;
    match outcome.outcome {
        Some(outcome::Outcome::CodesImported(imported)) => Ok(response(*imported, malformed)),
        Some(outcome::Outcome::Refusal(refusal)) => Err(Fault::refused(refusal, &topology)),
        Some(
            outcome::Outcome::CampaignCreated(_)
            | outcome::Outcome::CampaignChanged(_)
            | outcome::Outcome::CampaignDeleted(_)
            | outcome::Outcome::CouponIssued(_)
            | outcome::Outcome::CouponChanged(_)
            | outcome::Outcome::HoldChanged(_)
            | outcome::Outcome::HoldConfirmed(_),
        )
        | None => Err(Fault::another_question()),
    }
}

/// The lines of a message.
struct Lines {
    campaign: CampaignName,
    command: ImportCodesCommand,
    /// Those that have no code, and are not empty.
    malformed: Vec<u64>,
}

/// Checks a message.
///
/// # Errors
/// [`Fault::Invalid`] with all violations.
fn lines(message: ImportCodesRequest) -> Result<Lines, Fault> {
    let mut check = Check::default();
    let campaign = check.campaign_id(&message.campaign_id);
    let import_id = check.import_id(&message.import_id);
    let mut codes = message.codes;
    if codes.len() > CODES_MAX {
        let count = codes.len();
        check.fail("codes", format!("must be at most {CODES_MAX}, are {count}"));
    }
    if !codes.is_empty() {
        check.range("first_line", message.first_line, 1, i64::MAX);
    }
    check.result()?;
    let (Some(campaign), Some(import_id)) = (campaign, import_id) else {
        return Err(Fault::Internal("an id is missing without a violation"));
    };
    let first_line = message.first_line.unsigned_abs();
    let mut malformed = Vec::new();
    for (line, code) in (first_line..).zip(&mut codes) {
        if !code.is_empty() && !can_be_imported(code) {
            malformed.push(line);
            code.clear();
        }
    }
    let command = ImportCodesCommand {
        campaign: campaign.to_string(),
        import_id: import_id.as_bytes().to_vec(),
        first_line,
        codes,
    };
    Ok(Lines { campaign, command, malformed })
}

/// The answer to a message.
fn response(imported: CodesImported, malformed: Vec<u64>) -> ImportCodesResponse {
    let CodesImported { next_line, imported, refused } = imported;
    let malformed = malformed.into_iter().map(|line| RefusedLine {
        line: to_i64(line),
        reason: LineRefusalReason::Malformed.into(),
        ..RefusedLine::default()
    });
    let mut refused_lines: Vec<_> = refused.iter().map(refused_line).chain(malformed).collect();
    refused_lines.sort_unstable_by_key(|refused| refused.line);
    let (next_line, imported) = (to_i64(next_line), to_i64(imported));
    ImportCodesResponse { next_line, imported, refused_lines }
}

fn refused_line(refused: &internal::RefusedLine) -> RefusedLine {
    let internal::RefusedLine { line, duplicate_of_sequence, duplicate_of_line, changed } =
        *refused;
    let reason = match duplicate_of_sequence {
        0 if changed => LineRefusalReason::Changed,
        0 => LineRefusalReason::TooManyCodes,
        _ => LineRefusalReason::Duplicate,
    };
    RefusedLine {
        line: to_i64(line),
        reason: reason.into(),
        duplicate_of_sequence: to_i64(duplicate_of_sequence),
        duplicate_of_line: to_i64(duplicate_of_line),
    }
}

fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
