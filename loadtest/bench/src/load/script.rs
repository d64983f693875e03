//! One call of the Redis script, on a connection of its own.

use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::load::audit::Audit;
use crate::load::call::Call;
use crate::load::requests::Requests;
use crate::load::resp::Connection;

/// A quota that no measurement uses up, as of Coupon's campaigns.
const QUOTA: &str = "1000000000";

/// Calls the script once per call.
#[derive(Debug)]
pub(crate) struct Script {
    connection: Connection,
    script: String,
    counter: String,
    recipients: String,
    requests: Requests,
    audit: Arc<Mutex<Audit>>,
}

impl Script {
    /// One caller for each of the calls in flight, each with a connection: clients of Redis need one for a
    /// command in flight unless they pipeline. They share a new campaign.
    pub(crate) async fn callers(
        address: &str,
        script: &str,
        in_flight: usize,
        audit: &Arc<Mutex<Audit>>,
    ) -> anyhow::Result<Vec<Self>> {
        let campaign_id = format!("bench:{}", Uuid::new_v4());
        let requests = Requests::new(&campaign_id);
        let mut callers = Vec::new();
        for _ in 0..in_flight {
            callers.push(Self {
                connection: Connection::open(address).await?,
                script: script.to_owned(),
                counter: format!("issued:{campaign_id}"),
                recipients: format!("recipients:{campaign_id}"),
                requests: requests.clone(),
                audit: Arc::clone(audit),
            });
        }
        Ok(callers)
    }
}

impl Call for Script {
    async fn call(&mut self) -> Result<u64, String> {
        let request = self.requests.next();
        let recipient = request.recipient.as_str();
        let command =
            ["EVALSHA", &self.script, "2", &self.counter, &self.recipients, recipient, QUOTA];
        let answer = self.connection.call(&command).await.map_err(|error| format!("{error:#}"))?;
        let sequence = answer.strip_prefix(':').and_then(|number| number.parse().ok());
        match sequence {
            Some(sequence) if sequence > 0 => {
                self.audit.lock().note(sequence);
                Ok(1)
            }
            _ => Err(format!("Redis answers {answer}")),
        }
    }
}
