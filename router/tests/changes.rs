//! What clients see of changes of campaigns.

mod support;

use std::collections::BTreeMap;

use coupon_proto::v1::{
    ArchiveCampaignRequest, Campaign, CampaignState, CreateCampaignRequest, DeleteCampaignRequest,
    EndCampaignRequest, GetCampaignRequest, ListCampaignsRequest, UpdateCampaignRequest,
};
use prost_types::{FieldMask, Timestamp};
use support::{Fixture, reason};
use tonic::Code;

/// After the log time of everything in a fake cluster.
const END: Timestamp = Timestamp { seconds: 1_800_000_000, nanos: 0 };

async fn campaign(t: &mut Fixture) -> Campaign {
    let request = CreateCampaignRequest {
        campaign_id: "spring".to_owned(),
        display_name: "Spring".to_owned(),
        quota: 5,
        end_time: Some(END),
        labels: BTreeMap::from([("team".to_owned(), "growth".to_owned())]),
        per_recipient_limit: 1,
        ..Default::default()
    };
    let created = t.campaigns.create_campaign(request).await.expect("the campaign is created");
    created.into_inner().campaign.expect("the answer shows it")
}

fn update(campaign: Campaign, paths: &[&str]) -> UpdateCampaignRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let campaign = Campaign { campaign_id: "spring".to_owned(), ..campaign };
    let update_mask = Some(FieldMask { paths });
    UpdateCampaignRequest { campaign: Some(campaign), update_mask, request_id: String::new() }
}

#[tokio::test]
async fn an_update_changes_the_fields_of_its_mask_and_no_others() {
    let mut t = Fixture::start().await;
    let before = campaign(&mut t).await;
    let new = Campaign { display_name: "Summer".to_owned(), quota: 7, ..Default::default() };
    let changed = async |t: &mut Fixture, request| {
        t.campaigns.update_campaign(request).await.unwrap().into_inner().campaign.unwrap()
    };
    let named = changed(&mut t, update(new.clone(), &["quota"])).await;
    assert_eq!((named.quota, named.display_name.as_str()), (7, "Spring"));
    assert_ne!(named.etag, before.etag);
    let set = changed(&mut t, update(new, &[])).await;
    assert_eq!((set.quota, set.display_name.as_str()), (7, "Summer"));
    assert_eq!((set.end_time, set.labels.len()), (Some(END), 1));
    // A field that the mask names and the campaign does not have is cleared.
    let cleared = changed(&mut t, update(Campaign::default(), &["end_time", "labels"])).await;
    assert_eq!((cleared.end_time, cleared.labels.len()), (None, 0));
    let all = Campaign { quota: 9, per_recipient_limit: 1, ..Default::default() };
    let all = changed(&mut t, update(all, &["*"])).await;
    assert_eq!((all.quota, all.display_name.as_str()), (9, ""));
}

#[tokio::test]
async fn what_was_read_can_be_sent_back_with_a_change() {
    let mut t = Fixture::start().await;
    let read = campaign(&mut t).await;
    let back = Campaign { quota: 6, ..read.clone() };
    t.campaigns.update_campaign(update(back, &[])).await.unwrap();
    let again = Campaign { quota: 7, ..read };
    let refused = t.campaigns.update_campaign(update(again, &[])).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
}

#[tokio::test]
async fn a_campaign_that_was_ended_shows_it() {
    let mut t = Fixture::start().await;
    campaign(&mut t).await;
    let end = EndCampaignRequest { campaign_id: "spring".to_owned(), ..Default::default() };
    let ended = t.campaigns.end_campaign(end).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!(ended.state(), CampaignState::Ended);
    let none = EndCampaignRequest { campaign_id: "none".to_owned(), ..Default::default() };
    let refused = t.campaigns.end_campaign(none).await.unwrap_err();
    assert_eq!(reason(&refused), "CAMPAIGN_NOT_FOUND");
}

#[tokio::test]
async fn a_campaign_is_archived_and_deleted() {
    let mut t = Fixture::start().await;
    campaign(&mut t).await;
    let campaign_id = || "spring".to_owned();
    let archive = ArchiveCampaignRequest { campaign_id: campaign_id(), ..Default::default() };
    let archived = t.campaigns.archive_campaign(archive).await.unwrap().into_inner();
    assert_eq!(archived.campaign.unwrap().state(), CampaignState::Archived);
    let delete = DeleteCampaignRequest { campaign_id: campaign_id(), ..Default::default() };
    t.campaigns.delete_campaign(delete).await.unwrap();
    let get = GetCampaignRequest { campaign_id: campaign_id() };
    let gone = t.campaigns.get_campaign(get).await.unwrap_err();
    assert_eq!(reason(&gone), "CAMPAIGN_NOT_FOUND");
}

#[tokio::test]
async fn a_creation_that_is_only_checked_creates_nothing() {
    let mut t = Fixture::start().await;
    let request = CreateCampaignRequest {
        campaign_id: "spring".to_owned(),
        quota: 5,
        validate_only: true,
        ..Default::default()
    };
    let checked = t.campaigns.create_campaign(request.clone()).await.unwrap().into_inner();
    assert_eq!(checked.campaign.unwrap().quota, 5);
    assert!(t.cluster.seen().is_empty(), "nothing was proposed");
    campaign(&mut t).await;
    let refused = t.campaigns.create_campaign(request.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "CAMPAIGN_EXISTS");
    let invalid = CreateCampaignRequest { quota: 0, ..request };
    let refused = t.campaigns.create_campaign(invalid).await.unwrap_err();
    assert_eq!(reason(&refused), "FIELD_VIOLATIONS");
}

#[tokio::test]
async fn a_list_shows_the_campaigns_that_meet_its_filter() {
    let mut t = Fixture::start().await;
    campaign(&mut t).await;
    for number in 0..9 {
        t.create(&format!("other-{number}"), 1).await;
    }
    let mut list = async |filter: &str, page_size| {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let filter = filter.to_owned();
            let request = ListCampaignsRequest { page_size, page_token, filter };
            let page = t.campaigns.list_campaigns(request).await.unwrap().into_inner();
            found.extend(page.campaigns.into_iter().map(|campaign| campaign.campaign_id));
            if page.next_page_token.is_empty() {
                return found;
            }
            page_token = page.next_page_token;
        }
    };
    assert_eq!(list("labels.team = growth", 1).await, ["spring"]);
    assert_eq!(list("labels.team != growth", 2).await.len(), 9);
    assert_eq!(list("", 3).await.len(), 10);
    // A token goes with the filter that it was made for.
    let request = ListCampaignsRequest { page_size: 1, ..Default::default() };
    let page = t.campaigns.list_campaigns(request.clone()).await.unwrap().into_inner();
    let filter = "labels:team".to_owned();
    let other = ListCampaignsRequest { page_token: page.next_page_token, filter, ..request };
    let refused = t.campaigns.list_campaigns(other).await.unwrap_err();
    assert!(refused.message().starts_with("page_token"), "{refused}");
}
