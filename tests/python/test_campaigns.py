"""Changes of campaigns, seen by a client that shares no code with the server."""

import uuid
from datetime import datetime, timedelta, timezone

import grpc
from refusal import refused
from test_issue import SECONDS, campaign, issue, new_campaign, timestamp


def test_a_campaign_that_is_sold_out_goes_on_when_its_quota_grows(api):
    campaign_id = new_campaign(api, 1)
    issue(api, campaign_id, "ann")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "SOLD_OUT"):
        issue(api, campaign_id, "bob")
    read = campaign(api, campaign_id)
    assert read.HasField("open_time") and read.HasField("sold_out_time")
    update = api.campaign_pb.UpdateCampaignRequest(
        campaign=api.campaign_pb.Campaign(campaign_id=campaign_id, quota=2, etag=read.etag),
        request_id=str(uuid.uuid4()))
    grown = api.campaigns.UpdateCampaign(update, timeout=SECONDS)
    assert (grown.campaign.quota, grown.campaign.state) == (2, api.campaign_pb.CAMPAIGN_STATE_ACTIVE)
    assert not grown.campaign.HasField("sold_out_time") and not grown.replayed
    assert issue(api, campaign_id, "bob").coupon.sequence == 2
    assert api.campaigns.UpdateCampaign(update, timeout=SECONDS).replayed
    # Coupons do not change the etag, other updates do.
    update.request_id, update.campaign.quota = str(uuid.uuid4()), 9
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        api.campaigns.UpdateCampaign(update, timeout=SECONDS)
    update.campaign.etag, update.campaign.quota = "", 1
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "QUOTA_BELOW_ISSUED") as refusal:
        api.campaigns.UpdateCampaign(update, timeout=SECONDS)
    assert refusal().metadata == {"issued": "2", "quota_min": "2"}


def test_a_campaign_that_was_ended_issues_nothing_more(api):
    campaign_id = new_campaign(api, 9)
    issue(api, campaign_id, "ann")
    end = api.campaign_pb.EndCampaignRequest(campaign_id=campaign_id)
    ended = api.campaigns.EndCampaign(end, timeout=SECONDS).campaign
    assert ended.state == api.campaign_pb.CAMPAIGN_STATE_ENDED
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ENDED"):
        issue(api, campaign_id, "bob")
    again = api.campaigns.EndCampaign(end, timeout=SECONDS).campaign
    assert (again.end_time, again.revision) == (ended.end_time, ended.revision)
    update = api.campaign_pb.UpdateCampaignRequest(
        campaign=api.campaign_pb.Campaign(campaign_id=campaign_id, display_name="Over", quota=10))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ENDED"):
        api.campaigns.UpdateCampaign(update, timeout=SECONDS)
    update.update_mask.paths.append("display_name")
    assert api.campaigns.UpdateCampaign(update, timeout=SECONDS).campaign.display_name == "Over"


def test_an_update_names_what_cannot_be_changed(api):
    campaign_id = new_campaign(api, 9, per_recipient_limit=1)
    update = api.campaign_pb.UpdateCampaignRequest(
        campaign=api.campaign_pb.Campaign(campaign_id=campaign_id))
    update.update_mask.paths.extend(["quota", "state"])
    update.campaign.quota = 9
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATIONS") as refusal:
        api.campaigns.UpdateCampaign(update, timeout=SECONDS)
    assert refusal().violations()["update_mask"].startswith("state: ")
    update.update_mask.paths[:] = []
    update.campaign.per_recipient_limit = 2
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATIONS") as refusal:
        api.campaigns.UpdateCampaign(update, timeout=SECONDS)
    assert set(refusal().violations()) == {"campaign.per_recipient_limit"}
    past = timestamp(datetime.now(timezone.utc) - timedelta(seconds=5))
    update.campaign.per_recipient_limit = 1
    update.campaign.end_time.CopyFrom(past)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "END_TIME_IN_PAST"):
        api.campaigns.UpdateCampaign(update, timeout=SECONDS)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "END_TIME_IN_PAST"):
        new_campaign(api, 1, end_time=past)
