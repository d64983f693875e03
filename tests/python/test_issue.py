"""Campaigns and coupons, seen by a client that shares no code with the server."""

import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2, error_details_pb2
from refusal import DOMAIN, refused

# Each call has a deadline, as a careful client's do; nothing here comes near it.
SECONDS = 20

# Ten symbols: digits and the open syllables of 14 consonants and 6 vowels (U+AC00 onwards, 588 for
# each initial consonant, 28 for each vowel), less those that are spoken like digits, and 으.
CONSONANTS = [0, 2, 3, 5, 6, 7, 9, 11, 12, 14, 15, 16, 17, 18]
VOWELS = [0, 4, 8, 13, 18, 20]
SYLLABLES = {chr(0xAC00 + 588 * c + 28 * v) for c in CONSONANTS for v in VOWELS} - set("이사오구으")
ALPHABET = set("0123456789") | SYLLABLES

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def times_alpha(element):
    """A product with a root of x^5 + x^2 + 1 in GF(32)."""
    return element << 1 ^ (0b100101 if element & 16 else 0)


def new_campaign(api, quota, **fields):
    """Creates a campaign under an id of its own and returns the id."""
    fields.setdefault("campaign_id", f"py-{uuid.uuid4()}")
    response = api.campaigns.CreateCampaign(
        api.campaign_pb.CreateCampaignRequest(quota=quota, **fields), timeout=SECONDS)
    return response.campaign.campaign_id


def issue(api, campaign_id, recipient="", **fields):
    request = api.coupon_pb.IssueCouponRequest(
        campaign_id=campaign_id, recipient=recipient, **fields)
    return api.coupons.IssueCoupon(request, timeout=SECONDS)


def timestamp(time):
    message = Timestamp()
    message.FromDatetime(time)
    return message


def until(what, holds):
    """Waits for something to hold."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def campaign(api, campaign_id):
    request = api.campaign_pb.GetCampaignRequest(campaign_id=campaign_id)
    return api.campaigns.GetCampaign(request, timeout=SECONDS).campaign


def test_a_paused_campaign_issues_nothing_until_it_is_resumed(api):
    campaign_id = new_campaign(api, 10)
    request_id = str(uuid.uuid4())
    pause = api.campaign_pb.PauseCampaignRequest(campaign_id=campaign_id, request_id=request_id)
    paused = api.campaigns.PauseCampaign(pause, timeout=SECONDS)
    assert paused.campaign.state == api.campaign_pb.CAMPAIGN_STATE_PAUSED and not paused.replayed
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "PAUSED"):
        issue(api, campaign_id, "ann")
    resume = api.campaign_pb.ResumeCampaignRequest(campaign_id=campaign_id)
    resumed = api.campaigns.ResumeCampaign(resume, timeout=SECONDS)
    assert resumed.campaign.state == api.campaign_pb.CAMPAIGN_STATE_ACTIVE
    # Repeated, the old request changes nothing.
    again = api.campaigns.PauseCampaign(pause, timeout=SECONDS)
    assert again.replayed and again.campaign.state == api.campaign_pb.CAMPAIGN_STATE_ACTIVE
    assert issue(api, campaign_id, "ann").coupon.sequence == 1


def test_the_alphabet_has_89_symbols():
    assert len(ALPHABET) == 89


def test_a_campaign_is_created_and_shown(api):
    request = api.campaign_pb.CreateCampaignRequest(
        campaign_id=f"py-{uuid.uuid4()}", display_name="첫 캠페인", quota=3,
        labels={"team": "growth"}, request_id=str(uuid.uuid4()))
    created = api.campaigns.CreateCampaign(request, timeout=SECONDS)
    assert not created.replayed
    again = api.campaigns.CreateCampaign(request, timeout=SECONDS)
    assert again.replayed and again.campaign.campaign_id == request.campaign_id

    shown = campaign(api, request.campaign_id)
    assert (shown.display_name, shown.quota, dict(shown.labels)) == ("첫 캠페인", 3, {"team": "growth"})
    assert shown.state == api.campaign_pb.CAMPAIGN_STATE_ACTIVE
    assert (shown.issued, shown.remaining) == (0, 3)

    request.request_id = str(uuid.uuid4())
    with refused(grpc.StatusCode.ALREADY_EXISTS, "CAMPAIGN_EXISTS"):
        api.campaigns.CreateCampaign(request, timeout=SECONDS)


def test_exactly_the_quota_is_issued_to_a_crowd(api):
    quota, crowd = 100, 160
    campaign_id = new_campaign(api, quota)

    def try_issue(number):
        try:
            return issue(api, campaign_id, f"recipient-{number}").coupon
        except grpc.RpcError as error:
            return error

    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = list(pool.map(try_issue, range(crowd)))
    coupons = [answer for answer in answers if not isinstance(answer, grpc.RpcError)]
    errors = [answer for answer in answers if isinstance(answer, grpc.RpcError)]

    assert len(coupons) == quota
    assert {error.code() for error in errors} == {grpc.StatusCode.FAILED_PRECONDITION}
    assert sorted(coupon.sequence for coupon in coupons) == list(range(1, quota + 1))
    codes = {coupon.code for coupon in coupons}
    assert len(codes) == quota
    assert all(len(code) == 10 and set(code) <= ALPHABET for code in codes)

    shown = campaign(api, campaign_id)
    assert (shown.issued, shown.remaining) == (quota, 0)
    assert shown.state == api.campaign_pb.CAMPAIGN_STATE_EXHAUSTED

    request = api.coupon_pb.StreamCouponsRequest(campaign_id=campaign_id)
    streamed = [coupon for part in api.coupons.StreamCoupons(request, timeout=SECONDS)
                for coupon in part.coupons]
    assert [coupon.sequence for coupon in streamed] == list(range(1, quota + 1))
    assert {coupon.code for coupon in streamed} == codes


def test_a_sold_out_campaign_says_so(api):
    campaign_id = new_campaign(api, 1)
    issue(api, campaign_id, "first")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "SOLD_OUT") as refusal:
        issue(api, campaign_id, "second")
    assert refusal().message == "no more coupons available"


def test_before_the_start_the_answer_says_when_and_what_time_it_is(api):
    start = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=1)
    campaign_id = new_campaign(api, 10, start_time=timestamp(start))
    assert campaign(api, campaign_id).state == api.campaign_pb.CAMPAIGN_STATE_SCHEDULED
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_STARTED") as refusal:
        issue(api, campaign_id, "early")
    assert refusal().message == "coupon issuance not started yet"
    metadata = refusal().metadata
    assert rfc3339(metadata["start_time"]) == start
    server_time = rfc3339(metadata["server_time"])
    # Same machine, same clock.
    assert abs(server_time - datetime.now(timezone.utc)) < timedelta(minutes=1)


def rfc3339(text):
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z", text)
    assert found, f"{text!r} is no time in UTC"
    return datetime.fromisoformat(found[1] + "+00:00")


def test_after_the_end_nothing_is_issued(api):
    end = datetime.now(timezone.utc) + timedelta(seconds=1)
    campaign_id = new_campaign(api, 10, end_time=timestamp(end))
    ended = api.campaign_pb.CAMPAIGN_STATE_ENDED
    until("the end", lambda: campaign(api, campaign_id).state == ended)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ENDED"):
        issue(api, campaign_id, "late")


def test_a_campaign_whose_window_is_over_is_not_created(api):
    now = datetime.now(timezone.utc)
    an_hour_ago = timestamp(now - timedelta(hours=1))
    for start in [{}, {"start_time": timestamp(now - timedelta(hours=2))}]:
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "END_TIME_IN_PAST") as refusal:
            new_campaign(api, 10, end_time=an_hour_ago, **start)
        assert set(refusal().violations()) == {"end_time"}


def test_a_recipient_gets_no_more_than_the_limit(api):
    campaign_id = new_campaign(api, 10, per_recipient_limit=2)
    held = [issue(api, campaign_id, "한사람").coupon.code for _ in range(2)]
    with refused(grpc.StatusCode.ALREADY_EXISTS, "RECIPIENT_LIMIT_REACHED") as refusal:
        issue(api, campaign_id, "한사람")
    assert refusal().metadata["codes"].split(",") == held
    assert campaign(api, campaign_id).issued == 2

    request = api.coupon_pb.ListCouponsRequest(campaign_id=campaign_id, recipient="한사람")
    listed = api.coupons.ListCoupons(request, timeout=SECONDS).coupons
    assert [coupon.code for coupon in listed] == held


def test_a_limited_campaign_needs_a_recipient(api):
    campaign_id = new_campaign(api, 10, per_recipient_limit=1)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "RECIPIENT_REQUIRED") as refusal:
        issue(api, campaign_id)
    assert set(refusal().violations()) == {"recipient"}


def test_a_retry_gets_the_same_coupon(api):
    campaign_id = new_campaign(api, 10)
    request_id = str(uuid.uuid4())
    first = issue(api, campaign_id, "repeat", request_id=request_id, metadata={"order": "7"})
    second = issue(api, campaign_id, "repeat", request_id=request_id, metadata={"order": "7"})
    assert (first.replayed, second.replayed) == (False, True)
    assert first.coupon == second.coupon
    assert campaign(api, campaign_id).issued == 1

    with refused(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED"):
        issue(api, campaign_id, "somebody else", request_id=request_id)


def test_bad_input_is_answered_with_all_violations(api):
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATIONS") as refusal:
        new_campaign(api, 0, campaign_id="Not An Id", per_recipient_limit=-1)
    assert set(refusal().violations()) == {"campaign_id", "quota", "per_recipient_limit"}

    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATIONS") as refusal:
        issue(api, "any", "x" * 129, request_id="not-a-uuid")
    assert set(refusal().violations()) == {"recipient", "request_id"}


def test_an_unknown_campaign_is_not_found(api):
    unknown = f"py-{uuid.uuid4()}"
    with refused(grpc.StatusCode.NOT_FOUND, "CAMPAIGN_NOT_FOUND"):
        issue(api, unknown, "anybody")
    with refused(grpc.StatusCode.NOT_FOUND, "CAMPAIGN_NOT_FOUND"):
        campaign(api, unknown)


def test_each_request_of_a_batch_has_its_own_answer(api):
    one, two = new_campaign(api, 1), new_campaign(api, 5)
    requests = [api.coupon_pb.IssueCouponRequest(campaign_id=id, recipient=f"batch-{number}")
                for number, id in enumerate([one, two, one, two, "Not An Id"])]
    batch = api.coupon_pb.BatchIssueCouponsRequest(requests=requests)
    results = api.coupons.BatchIssueCoupons(batch, timeout=SECONDS).results
    outcomes = [result.WhichOneof("result") for result in results]
    # Of the two for the campaign with one coupon, either may have come first.
    assert sorted([outcomes[0], outcomes[2]]) == ["error", "response"]
    assert (outcomes[1], outcomes[3], outcomes[4]) == ("response", "response", "error")

    (sold_out,) = [results[i].error for i in (0, 2) if outcomes[i] == "error"]
    for status, code, reason in [
        (sold_out, code_pb2.FAILED_PRECONDITION, "SOLD_OUT"),
        (results[4].error, code_pb2.INVALID_ARGUMENT, "FIELD_VIOLATIONS"),
    ]:
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (status.code, info.domain, info.reason) == (code, DOMAIN, reason)


def test_lists_come_in_pages(api):
    campaign_id = new_campaign(api, 7)
    for number in range(7):
        issue(api, campaign_id, f"page-{number}")
    sequences, token = [], ""
    while True:
        request = api.coupon_pb.ListCouponsRequest(
            campaign_id=campaign_id, page_size=3, page_token=token)
        page = api.coupons.ListCoupons(request, timeout=SECONDS)
        assert len(page.coupons) <= 3
        sequences += [coupon.sequence for coupon in page.coupons]
        token = page.next_page_token
        if not token:
            break
    assert sequences == [1, 2, 3, 4, 5, 6, 7]

    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATIONS") as refusal:
        request = api.coupon_pb.ListCouponsRequest(campaign_id=campaign_id, page_token="made up")
        api.coupons.ListCoupons(request, timeout=SECONDS)
    assert set(refusal().violations()) == {"page_token"}


@pytest.mark.parametrize("page_size", [0, 1, 1000])
def test_every_campaign_is_listed_once(api, page_size):
    created = {new_campaign(api, 1) for _ in range(5)}
    listed, token = [], ""
    while True:
        request = api.campaign_pb.ListCampaignsRequest(page_size=page_size, page_token=token)
        page = api.campaigns.ListCampaigns(request, timeout=SECONDS)
        listed += [found.campaign_id for found in page.campaigns]
        token = page.next_page_token
        if not token:
            break
    assert len(listed) == len(set(listed))
    assert created <= set(listed)


def test_a_campaign_chooses_what_its_codes_look_like(api):
    profile = api.campaign_pb.CODE_PROFILE_LATIN
    campaign_id = new_campaign(api, 10, code_profile=profile, code_prefix="HOT-SUMMER-")
    shown = campaign(api, campaign_id)
    assert (shown.code_profile, shown.code_prefix, shown.code_length) == (profile, "HOT-SUMMER-", 14)
    codes = {issue(api, campaign_id).coupon.code for _ in range(10)}
    assert len(codes) == 10
    for code in codes:
        assert re.fullmatch("HOT-SUMMER-[0-9A-HJKMNP-TV-Z]{14}", code)
        check = 0
        for symbol in code.replace("HOT-SUMMER-", "H0TSVMMER"):
            check = times_alpha(check) ^ CROCKFORD.index(symbol)
        assert check == 0
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATIONS") as refusal:
        new_campaign(api, 1, code_profile=profile, code_length=15, code_prefix="summer-")
    assert set(refusal().violations()) == {"code_length", "code_prefix"}
