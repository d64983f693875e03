//! The campaigns that get the load: created, or found.

use std::time::SystemTime;

use coupon_client::{Channels, Client, RetryPolicy, new_request_id, v1};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::clock::Clock;
use crate::error::LoadError;
use crate::options::{Options, Target};
use crate::recorder::{RecordedCampaign, Terms};

/// Maximum number of campaigns created at a time.
const CREATIONS_MAX: usize = 16;

/// The client that creates and finds campaigns.
pub(crate) fn client(channels: &Channels, options: &Options) -> Client {
    let policy = RetryPolicy {
        attempt_timeout: options.attempt_timeout,
        give_up_after: options.give_up_after,
        ..RetryPolicy::default()
    };
    Client::from_channels(channels.clone(), policy)
}

/// Makes sure that the campaigns exist. New ones start at `start`; `None`: at once.
pub(crate) async fn prepare(
    client: &Client,
    options: &Options,
    clock: &Clock,
    start: Option<SystemTime>,
) -> Result<Vec<RecordedCampaign>, LoadError> {
    match &options.target {
        Target::New { count, .. } => {
            let created = (1..=*count).map(|number| create(client, options, clock, number, start));
            stream::iter(created).buffered(CREATIONS_MAX).try_collect().await
        }
        Target::Existing { campaign_id } => {
            let found = get(client, campaign_id).await?;
            // Others may load it as well, now or later.
            Ok(vec![recorded(&found, clock, None)])
        }
    }
}

/// Creates the campaign number `number` of a run, from 1.
pub(crate) async fn create(
    client: &Client,
    options: &Options,
    clock: &Clock,
    number: u32,
    start: Option<SystemTime>,
) -> Result<RecordedCampaign, LoadError> {
    let Target::New { prefix, quota, per_recipient_limit, .. } = &options.target else {
        return Err(LoadError::BrokenAnswer("a campaign that need not be created"));
    };
    let request = v1::CreateCampaignRequest {
        campaign_id: format!("{prefix}-{number}"),
        display_name: format!("load test {prefix}, number {number}"),
        quota: i64::from(*quota),
        start_time: start.map(Into::into),
        per_recipient_limit: i32::try_from(*per_recipient_limit).unwrap_or(i32::MAX),
        request_id: new_request_id(),
        ..v1::CreateCampaignRequest::default()
    };
    let answer = client.create_campaign(request).await;
    let answer = answer.map_err(LoadError::call("create a campaign"))?;
    let campaign = answer.campaign.ok_or(LoadError::BrokenAnswer("no campaign"))?;
    let (quota, per_recipient_limit) = (*quota, *per_recipient_limit);
    Ok(recorded(&campaign, clock, Some(Terms { quota, per_recipient_limit, start })))
}

/// Finds a campaign.
pub(crate) async fn get(client: &Client, campaign_id: &str) -> Result<v1::Campaign, LoadError> {
    let request = v1::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
    let answer = client.get_campaign(request).await;
    let answer = answer.map_err(LoadError::call("get the campaign"))?;
    answer.campaign.ok_or(LoadError::BrokenAnswer("no campaign"))
}

fn recorded(campaign: &v1::Campaign, clock: &Clock, created: Option<Terms>) -> RecordedCampaign {
    let start = campaign.start_time.and_then(|time| SystemTime::try_from(time).ok());
    let starts = start.map_or(0, |start| clock.of_wall(start));
    RecordedCampaign {
        id: campaign.campaign_id.clone(),
        // No caller waits for a start that lies behind, even if clocks differ a little.
        starts: if starts > clock.now() { starts } else { 0 },
        is_complete: created.is_some(),
        created,
        operations: Vec::new(),
    }
}
