//! A command on its way to the shard that owns its campaign, whichever that is by now.
//!
//! The stream of a shard does the retries within the shard. What is left is to follow the campaign
//! when the ring changes: the shard refuses, and the command goes to the owner by a newer map.

use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::CampaignId;
use coupon_proto::internal::{Command, Outcome, command};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::error::Fault;
use crate::retry::{self, Attempts, Unanswered};
use crate::stream::{Answer, Submission, Waiter};
use crate::topology::Topology;

/// How long a command waits for the map its shard spoke of before it just tries again.
const MAP_WAIT_MAX: Duration = Duration::from_millis(500);

impl Backend {
    /// Gets a command applied by the owner of its campaign. Returns the outcome, never a refusal by
    /// epoch or ownership, and the newest map at the time.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] at `deadline`, or earlier when the shard is overloaded.
    pub(crate) async fn propose(
        &self,
        campaign: &CampaignId,
        command: command::Command,
        deadline: Instant,
    ) -> Result<(Outcome, Arc<Topology>), Fault> {
        let mut topology = self.topology(deadline).await?;
        let mut command = Command {
            epoch: 0,
            command: Some(command),
            deadline_micros: self.wall_deadline(deadline),
        };
        let mut attempts = Attempts::default();
        for misses in 1.. {
            command.epoch = topology.epoch().get();
            set_code_key(&mut command, &topology)?;
            let answered = self.submit(campaign, command, attempts, deadline, &topology).await;
            let shard_epoch = match answered {
                Answer::Outcome(outcome) => return Ok((outcome, topology)),
                Answer::Unanswered(unanswered) => return Err(Fault::Unanswered(unanswered)),
                Answer::Reroute { command: unapplied, shard_epoch, attempts: so_far } => {
                    (command, attempts) = (unapplied, so_far);
                    shard_epoch
                }
            };
            let patience = (Instant::now() + MAP_WAIT_MAX).min(deadline);
            self.directory().reach(shard_epoch, patience).await;
            // The shard may also be behind the map, and then the same question is asked again.
            let pause =
                Instant::now() + retry::random_pause(misses, shard_epoch > topology.epoch());
            tokio::time::sleep_until(pause.min(deadline)).await;
            if Instant::now() >= deadline {
                break;
            }
            topology = self.topology(deadline).await?;
        }
        Err(Fault::Unanswered(attempts.unanswered()))
    }

    async fn submit(
        &self,
        campaign: &CampaignId,
        command: Command,
        attempts: Attempts,
        deadline: Instant,
        topology: &Topology,
    ) -> Answer {
        let shard = self.shard(topology.owner(campaign));
        let (answer, answered) = oneshot::channel();
        let submission = Submission { command, waiter: Waiter { deadline, attempts, answer } };
        // The shard's task drains its queue at once and answers by the deadline, so that neither
        // wait needs a timer of its own.
        if shard.queue.send(submission).await.is_err() {
            return Answer::Unanswered(attempts.unanswered());
        }
        // A task that is gone took the knowledge of what it sent with it.
        answered.await.unwrap_or(Answer::Unanswered(Unanswered::OutcomeUnknown))
    }

    /// A deadline as nodes understand it: microseconds since 1970.
    fn wall_deadline(&self, deadline: Instant) -> u64 {
        let left = deadline.saturating_duration_since(Instant::now());
        let left_micros = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        self.clock().micros().saturating_add(left_micros)
    }
}

/// A new campaign gets the newest key, by the first map that has one: the ledger must see the same
/// command each time.
fn set_code_key(command: &mut Command, topology: &Topology) -> Result<(), Fault> {
    if let Some(command::Command::CreateCampaign(create)) = &mut command.command
        && create.code_key_id == 0
    {
        let newest =
            topology.newest_key().ok_or(Fault::Internal("the shard map has no code key"))?;
        create.code_key_id = newest.get();
    }
    Ok(())
}
