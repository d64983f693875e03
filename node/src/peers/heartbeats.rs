//! Heartbeats of all shards to one node, in one call.
//!
//! A node that leads many shards has as many heartbeats to send at once. With a call for each of them, idle shards would
//! cost several times as much.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::NodeId;
use coupon_proto::internal as pb;
use coupon_proto::internal::heartbeat_answer::Answer;
use coupon_proto::internal::raft_service_client::RaftServiceClient;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tonic::Status;

use super::{Lane, MESSAGE_BYTES_MAX, Peers};

/// The heartbeats that wait for the next call to each node: one of a shard at a time. Clones share them.
#[derive(Clone, Default)]
pub(super) struct HeartbeatQueues(Arc<Mutex<HashMap<NodeId, Vec<PendingHeartbeat>>>>);

struct PendingHeartbeat {
    heartbeat: pb::AppendRequest,
    timeout: Duration,
    answer: oneshot::Sender<Result<pb::AppendResponse, Status>>,
}

impl Peers {
    /// Sends a heartbeat to a replica on `node`, in one call with those of other shards that are due now.
    ///
    /// # Errors
    ///
    /// When there is no answer within `timeout`, or the replica refuses.
    pub async fn heartbeat(
        &self,
        node: NodeId,
        heartbeat: pb::AppendRequest,
        timeout: Duration,
    ) -> Result<pb::AppendResponse, Status> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut queues = self.heartbeats.0.lock();
            let queue = queues.entry(node).or_default();
            queue.push(PendingHeartbeat { heartbeat, timeout, answer });
            queue.len() == 1
        };
        if is_first {
            // It runs after whatever is ready to run, such as the heartbeats of other shards.
            tokio::spawn(self.clone().send_heartbeats(node));
        }
        answered.await.unwrap_or_else(|_| Err(Status::unavailable("the heartbeat was not sent")))
    }

    async fn send_heartbeats(self, node: NodeId) {
        let pending = self.heartbeats.0.lock().remove(&node).unwrap_or_default();
        let timeout = pending.iter().map(|pending| pending.timeout).max().unwrap_or_default();
        let (heartbeats, mut answers): (Vec<_>, Vec<_>) =
            pending.into_iter().map(|pending| (pending.heartbeat, Some(pending.answer))).unzip();
        let call = self.call(node, heartbeats, &mut answers);
        let status = match tokio::time::timeout(timeout, call).await {
            Ok(Err(status)) => status,
            Ok(Ok(())) => Status::unavailable("the node did not answer for the replica"),
            Err(_) => Status::deadline_exceeded("the node did not answer in time"),
        };
        for unanswered in answers.into_iter().flatten() {
            // The caller may be gone.
            let _ = unanswered.send(Err(status.clone()));
        }
    }

    /// Calls a node and takes from `answers` those that it answers.
    async fn call(
        &self,
        node: NodeId,
        heartbeats: Vec<pb::AppendRequest>,
        answers: &mut [Option<oneshot::Sender<Result<pb::AppendResponse, Status>>>],
    ) -> Result<(), Status> {
        let channel = self.channel(node, Lane::Control);
        let channel = channel.ok_or_else(|| Status::unavailable("the shard map has no address"))?;
        let mut client = RaftServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let request = pb::HeartbeatsRequest { heartbeats };
        let mut responses = client.heartbeats(request).await?.into_inner();
        while let Some(response) = responses.message().await? {
            for answer in response.answers {
                let place = usize::try_from(answer.place).unwrap_or(usize::MAX);
                let Some(waiting) = answers.get_mut(place).and_then(Option::take) else { continue };
                let result = match answer.answer {
                    Some(Answer::Response(response)) => Ok(response),
                    Some(Answer::Refusal(reason)) => Err(Status::unavailable(reason)),
                    None => Err(Status::internal("an empty answer")),
                };
                let _ = waiting.send(result);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
