//! An import of codes.

use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use futures::stream;
use tonic::{Response, Status};

use crate::call_error::CallError;
use crate::call_state::CallState;
use crate::client::Client;

/// An import under way.
///
/// Lines that were sent before are recognized, so an import that was interrupted is sent again from line 1.
///
/// Each message has a stream of its own: that costs little beside a thousand codes, and no stream is idle while its caller
/// looks for more.
#[derive(Debug)]
pub struct CodeImport {
    client: Client,
    campaign_id: String,
    import_id: String,
}

impl Client {
    /// Begins to import codes into a campaign, or goes on with an import. Its id is a UUID of the caller's making, such as
    /// [`new_request_id`](crate::new_request_id).
    #[must_use]
    pub fn import_codes(&self, campaign_id: String, import_id: String) -> CodeImport {
        CodeImport { client: self.clone(), campaign_id, import_id }
    }
}

impl CodeImport {
    /// Sends the codes of a line and those after it, at most 1,000, 64 KiB in all; an empty one is a line without a code.
    /// Without codes it asks how far the import has come.
    /// They are sent again where the answer is lost, which is safe: the same lines may come any number of times.
    ///
    /// # Errors
    /// [`CallError`] when there is no answer. The import can go on with the same lines.
    pub async fn send(
        &self,
        first_line: i64,
        codes: Vec<String>,
    ) -> Result<v1::ImportCodesResponse, CallError> {
        let (campaign_id, import_id) = (self.campaign_id.clone(), self.import_id.clone());
        let state = CallState::new(Some(import_id.clone()));
        let request = v1::ImportCodesRequest { campaign_id, import_id, first_line, codes };
        let answer = self.client.call(state, request, |channel, request| async move {
            let request = request.map(|message| stream::iter([message]));
            let answers = CampaignServiceClient::new(channel).import_codes(request).await?;
            let answer = answers.into_inner().message().await?;
            let ended = || Status::unavailable("the stream ended before the answer");
            answer.map(Response::new).ok_or_else(ended)
        });
        answer.await
    }
}
