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
    assert refusal().metadata == {"issued": "2", "held": "0", "quota_min": "2"}


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


def test_a_campaign_is_archived_and_deleted_after_its_end(api):
    campaign_id = new_campaign(api, 9, labels={"run": str(uuid.uuid4())})
    code = issue(api, campaign_id, "ann").coupon.code
    archive = api.campaign_pb.ArchiveCampaignRequest(campaign_id=campaign_id)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_ENDED"):
        api.campaigns.ArchiveCampaign(archive, timeout=SECONDS)
    delete = api.campaign_pb.DeleteCampaignRequest(
        campaign_id=campaign_id, request_id=str(uuid.uuid4()))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_ARCHIVED"):
        api.campaigns.DeleteCampaign(delete, timeout=SECONDS)
    end = api.campaign_pb.EndCampaignRequest(campaign_id=campaign_id)
    api.campaigns.EndCampaign(end, timeout=SECONDS)
    archived = api.campaigns.ArchiveCampaign(archive, timeout=SECONDS).campaign
    assert archived.state == api.campaign_pb.CAMPAIGN_STATE_ARCHIVED
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ARCHIVED"):
        api.campaigns.PauseCampaign(
            api.campaign_pb.PauseCampaignRequest(campaign_id=campaign_id), timeout=SECONDS)
    listed = api.coupon_pb.ListCouponsRequest(campaign_id=campaign_id)
    assert [c.code for c in api.coupons.ListCoupons(listed, timeout=SECONDS).coupons] == [code]

    assert not api.campaigns.DeleteCampaign(delete, timeout=SECONDS).replayed
    assert api.campaigns.DeleteCampaign(delete, timeout=SECONDS).replayed
    for call in [lambda: campaign(api, campaign_id), lambda: issue(api, campaign_id, "bob"),
                 lambda: api.coupons.ListCoupons(listed, timeout=SECONDS)]:
        with refused(grpc.StatusCode.NOT_FOUND, "CAMPAIGN_NOT_FOUND"):
            call()
    with refused(grpc.StatusCode.ALREADY_EXISTS, "CAMPAIGN_DELETED"):
        new_campaign(api, 9, campaign_id=campaign_id)


def test_a_creation_that_is_only_checked_creates_nothing(api):
    campaign_id = f"py-{uuid.uuid4()}"
    create = api.campaign_pb.CreateCampaignRequest(
        campaign_id=campaign_id, quota=3, validate_only=True)
    checked = api.campaigns.CreateCampaign(create, timeout=SECONDS).campaign
    assert (checked.campaign_id, checked.quota) == (campaign_id, 3)
    with refused(grpc.StatusCode.NOT_FOUND, "CAMPAIGN_NOT_FOUND"):
        campaign(api, campaign_id)
    new_campaign(api, 3, campaign_id=campaign_id)
    with refused(grpc.StatusCode.ALREADY_EXISTS, "CAMPAIGN_EXISTS"):
        api.campaigns.CreateCampaign(create, timeout=SECONDS)
    create.end_time.CopyFrom(timestamp(datetime.now(timezone.utc) - timedelta(seconds=5)))
    create.campaign_id += "-2"
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "END_TIME_IN_PAST"):
        api.campaigns.CreateCampaign(create, timeout=SECONDS)


def test_a_list_shows_the_campaigns_that_meet_its_filter(api):
    run = str(uuid.uuid4())
    ids = [new_campaign(api, 3, labels={"run": run, "place": str(place)}) for place in range(6)]
    for campaign_id in ids[:2]:
        pause = api.campaign_pb.PauseCampaignRequest(campaign_id=campaign_id)
        api.campaigns.PauseCampaign(pause, timeout=SECONDS)

    def listed(filter):
        found, token = [], ""
        while True:
            request = api.campaign_pb.ListCampaignsRequest(
                page_size=2, page_token=token, filter=filter)
            page = api.campaigns.ListCampaigns(request, timeout=SECONDS)
            found += [c.campaign_id for c in page.campaigns]
            token = page.next_page_token
            if not token:
                return sorted(found)

    assert listed(f'labels.run = "{run}"') == sorted(ids)
    assert listed(f'labels.run = "{run}" AND state = PAUSED') == sorted(ids[:2])
    assert listed(f'labels.run = "{run}" AND state != PAUSED AND labels.place != 5') == sorted(ids[2:5])
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATIONS") as refusal:
        listed("state = ACTIVE OR state = PAUSED")
    assert refusal().violations()["filter"].startswith("at character 16: ")
