//! The campaigns that get the load: created, or found.

use std::time::{Duration, SystemTime};

use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::answer::{Answer, of_status};
use crate::channels::Channels;
use crate::clock::Clock;
use crate::demand::request_id;
use crate::error::LoadError;
use crate::options::{Options, Target};
use crate::recorder::{RecordedCampaign, Terms};

/// How many campaigns are created at a time.
const CREATIONS_MAX: usize = 16;

/// The pause before a request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How long one attempt to read something small may take, so that a router that is silent does not
/// take all the time there is.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes sure that the campaigns exist. New ones start at `start`; `None`: at once.
pub(crate) async fn prepare(
    channels: &Channels,
    options: &Options,
    clock: &Clock,
    start: Option<SystemTime>,
) -> Result<Vec<RecordedCampaign>, LoadError> {
    match &options.target {
        Target::New { count, .. } => {
            let created =
                (1..=*count).map(|number| create(channels.clone(), options, clock, number, start));
            stream::iter(created).buffered(CREATIONS_MAX).try_collect().await
        }
        Target::Existing { campaign_id } => {
            let found = get(&mut channels.clone(), campaign_id, options.give_up_after).await?;
            // Others may give load to it as well, now or later.
            Ok(vec![recorded(&found, clock, None)])
        }
    }
}

/// Creates the campaign number `number` of a run, from 1.
pub(crate) async fn create(
    mut channels: Channels,
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
        request_id: request_id(),
        ..v1::CreateCampaignRequest::default()
    };
    let answer = patiently(&mut channels, options.give_up_after, |channel| {
        let request = limited(request.clone(), options.attempt_timeout);
        async move { CampaignServiceClient::new(channel).create_campaign(request).await }
    });
    let answer = answer.await.map_err(LoadError::call("create a campaign"))?.into_inner();
    let campaign = answer.campaign.ok_or(LoadError::BrokenAnswer("no campaign"))?;
    let (quota, per_recipient_limit) = (*quota, *per_recipient_limit);
    Ok(recorded(&campaign, clock, Some(Terms { quota, per_recipient_limit, start })))
}

/// Finds a campaign.
pub(crate) async fn get(
    channels: &mut Channels,
    campaign_id: &str,
    patience: Duration,
) -> Result<v1::Campaign, LoadError> {
    let request = v1::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
    let answer = patiently(channels, patience, |channel| {
        let request = limited(request.clone(), ATTEMPT_TIMEOUT.min(patience));
        async move { CampaignServiceClient::new(channel).get_campaign(request).await }
    });
    let answer = answer.await.map_err(LoadError::call("get the campaign"))?.into_inner();
    answer.campaign.ok_or(LoadError::BrokenAnswer("no campaign"))
}

fn recorded(campaign: &v1::Campaign, clock: &Clock, created: Option<Terms>) -> RecordedCampaign {
    let start = campaign.start_time.and_then(|time| SystemTime::try_from(time).ok());
    let starts = start.map_or(0, |start| clock.of_wall(start));
    RecordedCampaign {
        id: campaign.campaign_id.clone(),
        // A start that lies behind is none that anybody waits for, even if clocks differ a little.
        starts: if starts > clock.now() { starts } else { 0 },
        is_complete: created.is_some(),
        created,
        operations: Vec::new(),
    }
}

/// Calls over one connection after the other until there is an answer, or so long; returns the last
/// one.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, Status>>>(
    channels: &mut Channels,
    patience: Duration,
    mut call: impl FnMut(Channel) -> F,
) -> Result<T, Status> {
    let end = Instant::now() + patience;
    loop {
        match call(channels.current()).await {
            Err(status)
                if matches!(of_status(&status), Answer::Again { .. }) && Instant::now() < end =>
            {
                channels.advance();
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// A request with a deadline.
pub(crate) fn limited<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}
