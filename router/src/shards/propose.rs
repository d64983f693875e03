//! A command on its way to the shard that owns its campaign, whichever that is by now.
//!
//! The stream of a shard does the retries within the shard. What is left is to follow the shard map: when the ring
//! changes, the shard refuses, and the command goes to the owner by a newer map; when there is a newer code key, a new
//! campaign gets that one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coupon_cluster::{CampaignName, Epoch};
use coupon_env::entropy::fraction;
use coupon_proto::internal::Outcome;
use coupon_proto::internal::command::Operation;
use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::answer::error::Fault;
use crate::route::retry::{self, Attempts, Unanswered};
use crate::route::topology::{Destination, Topology};
use crate::shards::shard_client::ShardClient;
use crate::shards::submission::{Answer, Outdated, Submission, Waiter};

/// The field of a `Command` that holds its epoch.
const EPOCH: u32 = 1;

/// How long a command waits for the map its shard spoke of before it just tries again.
const MAP_WAIT_MAX: Duration = Duration::from_millis(500);

/// A command that was handed to the stream of a shard.
pub(crate) struct PendingProposal {
    topology: Arc<Topology>,
    answered: oneshot::Receiver<Answer>,
}

/// What came of a command: the outcome, never a refusal by epoch or ownership, and the map it was sent by; or
/// why there is none.
pub(crate) type Proposal = Result<(Outcome, Arc<Topology>), Fault>;

/// A command that its shard has refused since it is not as a newer map has it, and that may be sent again.
pub(crate) struct OutdatedProposal {
    topology: Arc<Topology>,
    why: Outdated,
    attempts: Attempts,
}

impl PendingProposal {
    /// Waits until the shard has answered, which it does by the command's deadline.
    ///
    /// # Errors
    /// [`OutdatedProposal`], for [`ShardClient::follow`].
    pub(crate) async fn settled(self) -> Result<Proposal, OutdatedProposal> {
        let Self { topology, answered } = self;
        // A task that is gone took the knowledge of what it sent with it.
        let answer = answered.await.unwrap_or(Answer::Unanswered(Unanswered::OutcomeUnknown));
        match answer {
            Answer::Outcome(outcome) => Ok(Ok((outcome, topology))),
            Answer::Unanswered(unanswered) => Ok(Err(Fault::Unanswered(unanswered))),
            Answer::Outdated { why, attempts } => Err(OutdatedProposal { topology, why, attempts }),
        }
    }
}

impl ShardClient {
    /// Gets an operation applied by the owner of its campaign.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] at `deadline`, or earlier when the shard is overloaded.
    pub(crate) async fn propose(
        &self,
        campaign: &CampaignName,
        operation: &mut Operation,
        deadline: Instant,
    ) -> Proposal {
        self.propose_to(Destination::Owner(campaign), operation, deadline).await
    }

    /// Gets an operation applied by a shard.
    ///
    /// # Errors
    /// As [`ShardClient::propose`].
    pub(crate) async fn propose_to(
        &self,
        to: Destination<'_>,
        operation: &mut Operation,
        deadline: Instant,
    ) -> Proposal {
        let topology = self.topology(deadline).await?;
        match self.send(to, operation, topology, deadline).await?.settled().await {
            Ok(proposal) => proposal,
            Err(outdated) => self.follow(to, operation, outdated, deadline).await,
        }
    }

    /// Hands an operation to the stream of a shard by this map. The answer comes by itself.
    ///
    /// # Errors
    /// [`Fault::Internal`], when the map has no code key for a new campaign.
    pub(crate) async fn send(
        &self,
        to: Destination<'_>,
        operation: &mut Operation,
        topology: Arc<Topology>,
        deadline: Instant,
    ) -> Result<PendingProposal, Fault> {
        self.send_again(to, operation, topology, Attempts::default(), deadline).await
    }

    /// Sends an operation where it belongs, and as it is to be, by a newer map, as often as it takes.
    ///
    /// # Errors
    /// As [`ShardClient::propose`].
    pub(crate) async fn follow(
        &self,
        to: Destination<'_>,
        operation: &mut Operation,
        mut outdated: OutdatedProposal,
        deadline: Instant,
    ) -> Proposal {
        for misses in 1.. {
            let OutdatedProposal { topology, why, attempts } = outdated;
            let is_newer = match why {
                Outdated::Epoch(epoch) => {
                    let patience = (Instant::now() + MAP_WAIT_MAX).min(deadline);
                    self.directory().reach(epoch, patience).await;
                    // The shard may also be behind the map, and then the same question is asked again.
                    epoch > topology.epoch()
                }
                Outdated::CodeKey => {
                    // Without an answer it is too late for another attempt.
                    self.directory().latest(deadline).await;
                    forget_code_key(operation);
                    true
                }
            };
            let pause = Instant::now() + retry::pause(misses, is_newer, fraction());
            tokio::time::sleep_until(pause.min(deadline)).await;
            if Instant::now() >= deadline {
                return Err(Fault::Unanswered(attempts.unanswered()));
            }
            let topology = self.topology(deadline).await?;
            let sent = self.send_again(to, operation, topology, attempts, deadline).await?;
            outdated = match sent.settled().await {
                Ok(proposal) => return proposal,
                Err(outdated) => outdated,
            };
        }
        unreachable!("misses are not counted to their end")
    }

    async fn send_again(
        &self,
        to: Destination<'_>,
        operation: &mut Operation,
        topology: Arc<Topology>,
        attempts: Attempts,
        deadline: Instant,
    ) -> Result<PendingProposal, Fault> {
        set_code_key(operation, &topology)?;
        let command = encode(topology.epoch(), operation);
        let shard = self.shard(topology.shard_of(to));
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter { deadline, attempts, answer };
        let deadline_micros = self.wall_deadline(deadline);
        let submission = Submission { command, deadline_micros, waiter };
        // The shard's task drains its queue at once and answers by the deadline, so that neither
        // wait needs a timer of its own.
        let unsent = match shard.queue.try_send(submission) {
            Ok(()) => None,
            Err(TrySendError::Full(submission)) => {
                shard.queue.send(submission).await.err().map(|SendError(unsent)| unsent)
            }
            Err(TrySendError::Closed(unsent)) => Some(unsent),
        };
        if let Some(unsent) = unsent {
            unsent.waiter.give_up();
        }
        Ok(PendingProposal { topology, answered })
    }

    /// A deadline as nodes understand it: microseconds since 1970.
    fn wall_deadline(&self, deadline: Instant) -> u64 {
        let left = deadline.saturating_duration_since(Instant::now());
        let left_micros = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        self.now_micros().saturating_add(left_micros)
    }
}

/// A command as it will stand in the log.
fn encode(epoch: Epoch, operation: &Operation) -> Bytes {
    let epoch = epoch.get();
    let bytes = prost::encoding::uint64::encoded_len(EPOCH, &epoch) + operation.encoded_len();
    let mut command = Vec::with_capacity(bytes);
    if epoch != 0 {
        prost::encoding::uint64::encode(EPOCH, &epoch, &mut command);
    }
    operation.encode(&mut command);
    command.into()
}

/// A new campaign gets the newest key, by the first map that has one: the ledger sees the same command each time, unless
/// the shard refuses the key as too old.
fn set_code_key(operation: &mut Operation, topology: &Topology) -> Result<(), Fault> {
    if let Operation::CreateCampaign(create) = operation
        && create.code_key_id == 0
    {
        let newest = topology.codes().newest_key();
        let newest = newest.ok_or(Fault::Internal("the shard map has no code key"))?;
        create.code_key_id = newest.get();
    }
    Ok(())
}

/// Lets a new campaign get its key by another map. Whichever key an earlier attempt had, if it was applied, this one is
/// a retry.
fn forget_code_key(operation: &mut Operation) {
    if let Operation::CreateCampaign(create) = operation {
        create.code_key_id = 0;
    }
}

#[cfg(test)]
mod tests {
    use coupon_proto::internal::{Command, PauseCampaignCommand};
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_command_is_encoded_as_its_message_is() {
        let pause = PauseCampaignCommand { campaign: "default/c".into(), request_id: vec![1; 16] };
        let operation = Operation::PauseCampaign(pause);
        for epoch in [0, 1, u64::MAX] {
            let message = Command { epoch, operation: Some(operation.clone()) };
            assert_eq!(encode(Epoch(epoch), &operation), message.encode_to_vec());
        }
    }
}
