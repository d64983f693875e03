//! Watching a campaign.

use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::call_error::CallError;
use crate::client::Client;
use crate::follow::{Follower, Resumable};

/// A campaign that is watched. When the stream breaks, the watch is resumed after the last message, at the next router.
#[derive(Debug)]
pub struct CampaignWatch(Follower<Source>);

impl CampaignWatch {
    /// The campaign as it is now, and then whenever it changes; waits until it does. The future may be dropped at any
    /// time.
    ///
    /// # Errors
    /// [`CallError`]: refused, as when the campaign is deleted, or out of reach for as long as the client tries. Calling
    /// this again goes on after the last message.
    pub async fn next(&mut self) -> Result<v1::Campaign, CallError> {
        // Every message has a campaign.
        Ok(self.0.next().await?.campaign.unwrap_or_default())
    }
}

impl Client {
    /// Watches a campaign. Nothing is sent before the first call of [`CampaignWatch::next`].
    #[must_use]
    pub fn watch_campaign(&self, request: v1::WatchCampaignRequest) -> CampaignWatch {
        CampaignWatch(Follower::new(self.clone(), Source(request)))
    }
}

/// What is asked for next.
#[derive(Debug)]
struct Source(v1::WatchCampaignRequest);

impl Resumable for Source {
    type Message = v1::WatchCampaignResponse;

    async fn open(
        &self,
        channel: Channel,
    ) -> Result<Response<Streaming<v1::WatchCampaignResponse>>, Status> {
        CampaignServiceClient::new(channel).watch_campaign(self.0.clone()).await
    }

    fn note(&mut self, message: &v1::WatchCampaignResponse) {
        if let Some(campaign) = &message.campaign {
            self.0.after_revision = campaign.revision;
            self.0.after_state = campaign.state;
        }
    }
}
