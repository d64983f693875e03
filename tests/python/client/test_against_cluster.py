"""coupon-client and a real cluster."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import grpc
import pytest


@pytest.fixture(scope="module")
def client(sdk, address, channel):
    with sdk.Client(address) as client:
        yield client


def new_campaign(client, sdk, quota, **fields):
    campaign_id = f"sdk-{sdk.new_request_id()}"
    return client.create_campaign(campaign_id=campaign_id, quota=quota, **fields).campaign.campaign_id


def test_a_campaign_lives_its_life(client, sdk):
    labels = {"team": "growth"}
    campaign_id = new_campaign(client, sdk, 3, display_name="첫 캠페인", labels=labels, per_recipient_limit=1,
                               coupon_ttl=timedelta(days=1))
    first = client.issue_coupon(campaign_id=campaign_id, recipient="ann", metadata={"order": "7"})
    assert first.coupon.metadata["order"] == "7" and not first.replayed
    again = client.issue_coupon(campaign_id=campaign_id, recipient="ann", metadata={"order": "7"},
                                request_id=first.coupon.request_id)
    assert again.replayed and again.coupon == first.coupon
    with pytest.raises(sdk.RecipientLimitReached) as limit:
        client.issue_coupon(campaign_id=campaign_id, recipient="ann")
    assert limit.value.codes == (first.coupon.code,)
    with pytest.raises(sdk.RecipientRequired):
        client.issue_coupon(campaign_id=campaign_id)

    client.pause_campaign(campaign_id=campaign_id)
    with pytest.raises(sdk.Paused):
        client.issue_coupon(campaign_id=campaign_id, recipient="bob")
    client.resume_campaign(campaign_id=campaign_id)
    requests = [sdk.v1.IssueCouponRequest(campaign_id=campaign_id, recipient=name) for name in ["bob", "cat", "dan"]]
    results = client.batch_issue_coupons(requests)
    assert sum(isinstance(result, sdk.SoldOut) for result in results) == 1
    with pytest.raises(sdk.SoldOut) as sold_out:
        client.issue_coupon(campaign_id=campaign_id, recipient="eve")
    assert sold_out.value.message == "no more coupons available"

    shown = client.get_campaign(campaign_id=campaign_id).campaign
    assert (shown.issued, shown.remaining, shown.state) == (3, 0, sdk.v1.CAMPAIGN_STATE_EXHAUSTED)
    assert dict(shown.labels) == labels
    listed = list(client.list_coupons(campaign_id=campaign_id, page_size=2))
    assert [coupon.sequence for coupon in listed] == [1, 2, 3]
    assert list(client.stream_coupons(campaign_id=campaign_id)) == listed
    assert campaign_id in {campaign.campaign_id for campaign in client.list_campaigns(page_size=1)}


def test_a_campaign_is_changed_and_put_away(client, sdk):
    campaign_id = new_campaign(client, sdk, 5, labels={"run": sdk.new_request_id()})
    read = client.get_campaign(campaign_id=campaign_id).campaign
    changed = sdk.v1.Campaign(campaign_id=campaign_id, quota=7, etag=read.etag)
    assert client.update_campaign(campaign=changed, update_mask=["quota"]).campaign.quota == 7
    with pytest.raises(sdk.EtagMismatch):
        client.update_campaign(campaign=changed, update_mask=["quota"])
    listed = client.list_campaigns(filter=f'labels.run = "{read.labels["run"]}"')
    assert [campaign.campaign_id for campaign in listed] == [campaign_id]
    client.issue_coupon(campaign_id=campaign_id)
    client.issue_coupon(campaign_id=campaign_id)
    with pytest.raises(sdk.QuotaBelowIssued):
        client.update_campaign(campaign=sdk.v1.Campaign(campaign_id=campaign_id, quota=1), update_mask=["quota"])

    with pytest.raises(sdk.NotEnded):
        client.archive_campaign(campaign_id=campaign_id)
    client.end_campaign(campaign_id=campaign_id)
    with pytest.raises(sdk.Ended):
        client.issue_coupon(campaign_id=campaign_id)
    with pytest.raises(sdk.NotArchived):
        client.delete_campaign(campaign_id=campaign_id)
    client.archive_campaign(campaign_id=campaign_id)
    client.delete_campaign(campaign_id=campaign_id)
    with pytest.raises(sdk.CampaignNotFound):
        client.get_campaign(campaign_id=campaign_id)


def test_a_coupon_is_redeemed_once(client, sdk):
    campaign_id = new_campaign(client, sdk, 1)
    coupon = client.issue_coupon(campaign_id=campaign_id, recipient="ann").coupon
    assert client.validate_coupon(code=coupon.code).redeemable
    request_id = sdk.new_request_id()
    redeemed = client.redeem_coupon(code=coupon.code, order_ref="order-7", request_id=request_id)
    assert redeemed.coupon.order_ref == "order-7"
    again = client.redeem_coupon(code=coupon.code, order_ref="order-7", request_id=request_id)
    assert again.replayed and again.coupon == redeemed.coupon
    with pytest.raises(sdk.AlreadyRedeemed) as caught:
        client.redeem_coupon(code=coupon.code)
    assert caught.value.redeem_time == redeemed.coupon.redeem_time.ToDatetime(timezone.utc)
    refused = sdk.error_from_status(client.validate_coupon(code=coupon.code).error)
    assert isinstance(refused, sdk.AlreadyRedeemed)

    client.reverse_redemption(code=coupon.code)
    with pytest.raises(sdk.NotRedeemed):
        client.reverse_redemption(code=coupon.code)
    voided = client.void_coupon(code=coupon.code, reason="a test", return_quota=True).coupon
    with pytest.raises(sdk.CouponVoided) as void:
        client.redeem_coupon(code=coupon.code)
    assert void.value.void_time == voided.void_time.ToDatetime(timezone.utc)
    found = client.lookup_coupon(code=coupon.code).coupon
    assert (found.state, found.recipient) == (sdk.v1.COUPON_STATE_VOIDED, "")
    assert client.get_coupon(campaign_id=campaign_id, sequence=1).coupon == voided
    with pytest.raises(sdk.CouponNotFound):
        client.get_coupon(campaign_id=campaign_id, sequence=2)
    with pytest.raises(sdk.CodeMalformed) as malformed:
        client.lookup_coupon(code="nonsense")
    assert "nonsense" not in f"{malformed.value}"


def test_a_coupon_is_held_while_a_customer_pays(client, sdk):
    campaign_id = new_campaign(client, sdk, 1, per_recipient_limit=1)
    ttl = timedelta(minutes=10)
    held = client.hold_coupon(campaign_id=campaign_id, recipient="ann", ttl=ttl)
    hold = held.hold
    assert (hold.state, hold.recipient, held.replayed) == (sdk.v1.HOLD_STATE_OPEN, "ann", False)
    assert hold.expire_time.ToDatetime() - hold.create_time.ToDatetime() == ttl
    again = client.hold_coupon(campaign_id=campaign_id, recipient="ann", ttl=ttl, request_id=hold.hold_id)
    assert again.replayed and again.hold == hold
    with pytest.raises(sdk.QuotaHeld) as full:
        client.issue_coupon(campaign_id=campaign_id, recipient="bob")
    assert full.value.retry_after == 10
    with pytest.raises(sdk.RecipientLimitReached) as limit:
        client.hold_coupon(campaign_id=campaign_id, recipient="ann", ttl=ttl)
    assert (limit.value.codes, limit.value.hold_ids) == ((), (hold.hold_id,))
    with pytest.raises(sdk.FieldViolations):
        client.hold_coupon(campaign_id=campaign_id, recipient="bob", ttl=timedelta(days=2))

    released = client.release_hold(campaign_id=campaign_id, hold_id=hold.hold_id).hold
    assert released.state == sdk.v1.HOLD_STATE_RELEASED
    with pytest.raises(sdk.HoldReleased) as gone:
        client.confirm_hold(campaign_id=campaign_id, hold_id=hold.hold_id)
    assert gone.value.release_time == released.release_time.ToDatetime(timezone.utc)
    hold = client.hold_coupon(campaign_id=campaign_id, recipient="bob", ttl=ttl).hold
    shown = client.get_campaign(campaign_id=campaign_id).campaign
    assert (shown.issued, shown.held, shown.remaining) == (0, 1, 0)
    bought = client.confirm_hold(campaign_id=campaign_id, hold_id=hold.hold_id, metadata={"order": "7"}).coupon
    assert (bought.recipient, bought.request_id, bought.metadata["order"]) == ("bob", hold.hold_id, "7")
    with pytest.raises(sdk.HoldConfirmed):
        client.release_hold(campaign_id=campaign_id, hold_id=hold.hold_id)
    with pytest.raises(sdk.HoldNotFound):
        client.release_hold(campaign_id=campaign_id, hold_id=sdk.new_request_id())
    with pytest.raises(sdk.SoldOut):
        client.hold_coupon(campaign_id=campaign_id, recipient="cat", ttl=ttl)


def test_before_the_start_the_exception_says_how_long_to_wait(client, sdk):
    start = datetime.now(timezone(timedelta(hours=9))).replace(microsecond=5) + timedelta(hours=1)
    campaign_id = new_campaign(client, sdk, 1, start_time=start)
    with pytest.raises(sdk.NotStarted) as caught:
        client.issue_coupon(campaign_id=campaign_id)
    assert caught.value.start_time == start
    assert timedelta(minutes=59) < caught.value.starts_in <= timedelta(hours=1)


def test_bad_fields_are_named(client, sdk):
    with pytest.raises(sdk.FieldViolations) as caught:
        client.create_campaign(campaign_id="Not An Id", quota=0)
    assert {violation.field for violation in caught.value.violations} == {"campaign_id", "quota"}
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(sdk.CampaignNotFound):
        client.get_campaign(campaign_id="sdk-none")


def test_many_are_issued_over_a_stream(client, sdk):
    campaign_id = new_campaign(client, sdk, 150)
    requests = (sdk.v1.IssueCouponRequest(campaign_id=campaign_id) for _ in range(200))
    results = [result for _, result in client.issue_stream(requests, in_flight=64)]
    issued = [result.coupon.sequence for result in results if not isinstance(result, sdk.CouponError)]
    assert sorted(issued) == list(range(1, 151))
    assert sum(isinstance(result, sdk.SoldOut) for result in results) == 50


def new_gifts(client, sdk):
    created = client.create_campaign(
        campaign_id=f"sdk-{sdk.new_request_id()}", quota=10_000, code_source=sdk.v1.CODE_SOURCE_IMPORTED)
    return created.campaign.campaign_id


def test_codes_are_imported_and_given_in_order(client, sdk):
    campaign_id = new_gifts(client, sdk)
    codes = [f"GIFT-{number}" for number in range(1, 2_001)]
    result = client.import_codes(campaign_id=campaign_id, codes=[*codes, "GIFT-1", "no code"])
    assert (result.imported, result.next_line) == (2_000, 2_003)
    refused = [(line.line, line.reason, line.duplicate_of_line) for line in result.refused_lines]
    assert refused == [(2_001, sdk.v1.LINE_REFUSAL_REASON_DUPLICATE, 1), (2_002, sdk.v1.LINE_REFUSAL_REASON_MALFORMED, 0)]
    assert [client.issue_coupon(campaign_id=campaign_id).coupon.code for _ in range(3)] == codes[:3]
    assert client.redeem_coupon(code="GIFT-2", campaign_id=campaign_id).coupon.sequence == 2
    with pytest.raises(sdk.CouponNotFound):
        client.lookup_coupon(code="GIFT-9", campaign_id=campaign_id)
    again = client.import_codes(campaign_id=campaign_id, codes=["GIFT-1", "GIFT-X"], import_id=result.import_id)
    assert [(line.line, line.reason) for line in again.refused_lines] == [(2, sdk.v1.LINE_REFUSAL_REASON_CHANGED)]
    with pytest.raises(sdk.CodesNotImported):
        client.import_codes(campaign_id=new_campaign(client, sdk, 1), codes=["GIFT-1"])


def test_codes_are_imported_by_a_task(client, sdk, address, channel):
    campaign_id = new_gifts(client, sdk)

    async def codes():
        for number in range(1_500):
            yield f"GIFT-{number}"

    async def imported():
        async with sdk.AsyncClient([address]) as client:
            result = await client.import_codes(campaign_id=campaign_id, codes=codes())
            return result.imported, (await client.get_campaign(campaign_id=campaign_id)).campaign.remaining

    assert asyncio.run(imported()) == (1_500, 1_500)


def test_what_a_recipient_holds_is_listed_over_all_campaigns(client, sdk):
    recipient = sdk.new_request_id()
    codes = set()
    for _ in range(5):
        campaign_id = new_campaign(client, sdk, 3)
        codes |= {client.issue_coupon(campaign_id=campaign_id, recipient=recipient).coupon.code for _ in range(2)}
    listed = [coupon.code for coupon in client.list_coupons(recipient=recipient, page_size=3)]
    assert len(listed) == 10 and set(listed) == codes
    assert listed == [coupon.code for coupon in client.list_coupons(recipient=recipient)]


def test_threads_share_a_client(client, sdk):
    campaign_id = new_campaign(client, sdk, 50)

    def issue(_):
        try:
            return client.issue_coupon(campaign_id=campaign_id).coupon.code
        except sdk.SoldOut:
            return None

    with ThreadPoolExecutor(max_workers=16) as pool:
        codes = [code for code in pool.map(issue, range(70)) if code]
    assert len(codes) == len(set(codes)) == 50


def test_tasks_share_a_client(sdk, address, channel):
    async def crowd():
        async with sdk.AsyncClient([address]) as client:
            created = await client.create_campaign(campaign_id=f"sdk-{sdk.new_request_id()}", quota=50)
            campaign_id = created.campaign.campaign_id
            calls = (client.issue_coupon(campaign_id=campaign_id) for _ in range(70))
            answers = await asyncio.gather(*calls, return_exceptions=True)
            listed = [coupon async for coupon in client.list_coupons(campaign_id=campaign_id, page_size=20)]
            streamed = [coupon async for coupon in client.stream_coupons(campaign_id=campaign_id)]
            requests = [sdk.v1.IssueCouponRequest(campaign_id=campaign_id) for _ in range(10)]
            refused = [result async for _, result in client.issue_stream(requests)]
            assert [type(result) for result in refused] == [sdk.SoldOut] * 10
            # A stream that is left early is no stream that fails.
            async for _ in client.stream_coupons(campaign_id=campaign_id):
                break
            return answers, listed, streamed

    answers, listed, streamed = asyncio.run(crowd())
    assert sum(isinstance(answer, sdk.SoldOut) for answer in answers) == 20
    assert len(listed) == 50 and listed == streamed


def test_a_campaign_is_watched(client, sdk):
    campaign_id = new_campaign(client, sdk, 3)
    watch = client.watch_campaign(campaign_id=campaign_id)
    first = next(watch)
    assert first == client.get_campaign(campaign_id=campaign_id).campaign
    client.issue_coupon(campaign_id=campaign_id)
    second = next(watch)
    assert (second.issued, second.revision) == (1, first.revision + 1)
    watch.close()
    # Resumed, it says what has happened since, and nothing that is known.
    client.pause_campaign(campaign_id=campaign_id)
    resumed = client.watch_campaign(campaign_id=campaign_id, after_revision=second.revision, after_state=second.state)
    assert next(resumed).state == sdk.v1.CAMPAIGN_STATE_PAUSED
    client.end_campaign(campaign_id=campaign_id)
    assert next(resumed).state == sdk.v1.CAMPAIGN_STATE_ENDED
    client.archive_campaign(campaign_id=campaign_id)
    assert next(resumed).state == sdk.v1.CAMPAIGN_STATE_ARCHIVED
    client.delete_campaign(campaign_id=campaign_id)
    with pytest.raises(sdk.CampaignNotFound):
        next(resumed)


def test_a_task_watches_a_campaign(client, sdk, address):
    campaign_id = new_campaign(client, sdk, 20)

    async def watched():
        async with sdk.AsyncClient(address) as client:
            seen = []
            async for campaign in client.watch_campaign(campaign_id=campaign_id):
                seen.append(campaign.issued)
                if campaign.remaining == 0:
                    return seen
                await client.issue_coupon(campaign_id=campaign_id)

    seen = asyncio.run(watched())
    assert seen == sorted(set(seen)) and seen[0] == 0 and seen[-1] == 20
