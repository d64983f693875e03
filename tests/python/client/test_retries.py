"""What coupon-client repeats, and what it says when it gives up: against a router that fails on purpose."""

import asyncio
import io
import pickle
import threading
import uuid
from datetime import datetime, timedelta, timezone

import grpc
import pytest
from fake_router import fake_router, status
from google.rpc import status_pb2

CODE = grpc.StatusCode


@pytest.fixture
def router():
    with fake_router() as router:
        yield router


@pytest.fixture(params=["blocking", "asyncio"])
def client(request, sdk, router):
    """A client with short pauses. That for asyncio is driven as if it blocked."""
    policy = sdk.RetryPolicy(attempt_timeout=5, give_up_after=20, backoff_min=0.001, backoff_max=0.004)
    if request.param == "blocking":
        with sdk.Client(router.address, policy) as client:
            yield client
        return
    loop = asyncio.new_event_loop()

    async def connected():
        return sdk.AsyncClient([router.address], policy)

    client = loop.run_until_complete(connected())
    yield Driven(client, loop)
    loop.run_until_complete(client.close())
    loop.close()


class Driven:
    """An asynchronous client whose methods block."""

    def __init__(self, client, loop):
        self._client, self._loop = client, loop

    def __getattr__(self, name):
        def call(*arguments, **fields):
            answer = getattr(self._client, name)(*arguments, **fields)
            if hasattr(answer, "__aiter__"):
                return self._iterate(answer)
            return self._loop.run_until_complete(answer)
        return call

    def _iterate(self, iterator):
        while True:
            try:
                yield self._loop.run_until_complete(iterator.__anext__())
            except StopAsyncIteration:
                return


def coupon(sdk, code="ABC"):
    return sdk.v1.IssueCouponResponse(coupon=sdk.v1.Coupon(code=code, sequence=1))


def request_ids(router, sdk, message="IssueCouponRequest"):
    return [getattr(sdk.v1, message).FromString(request).request_id for _, request in router.asked]


@pytest.mark.parametrize("failure", [
    status(CODE.UNAVAILABLE, "NO_LEADER", 1), status(CODE.UNAVAILABLE, "OVERLOADED", 1),
    status(CODE.UNAVAILABLE, "OUTCOME_UNKNOWN", 1), status(CODE.UNAVAILABLE, "NEWER"),
    status(CODE.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    status_pb2.Status(code=14, message="connection lost"), status_pb2.Status(code=13, message="RST_STREAM"),
], ids=lambda failure: failure.message)
def test_all_attempts_have_one_request_id(client, sdk, router, failure):
    router.answers = [failure, failure, coupon(sdk)]
    issued = client.issue_coupon(campaign_id="spring", recipient="ann")
    assert issued.coupon.code == "ABC"
    ids = request_ids(router, sdk)
    assert len(ids) == 3 and len(set(ids)) == 1
    assert str(uuid.UUID(ids[0])) == ids[0]


def test_two_calls_have_two_request_ids(client, sdk, router):
    router.answers = [coupon(sdk), coupon(sdk)]
    client.issue_coupon(campaign_id="spring")
    client.issue_coupon(campaign_id="spring")
    assert len(set(request_ids(router, sdk))) == 2


def test_a_request_id_of_the_caller_is_kept(client, sdk, router):
    router.answers = [status(CODE.UNAVAILABLE, "NO_LEADER"), coupon(sdk)]
    request_id = sdk.new_request_id()
    client.issue_coupon(campaign_id="spring", request_id=request_id)
    assert request_ids(router, sdk) == [request_id] * 2


@pytest.mark.parametrize("code, reason, name", [
    (CODE.FAILED_PRECONDITION, "SOLD_OUT", "SoldOut"), (CODE.FAILED_PRECONDITION, "NOT_STARTED", "NotStarted"),
    (CODE.NOT_FOUND, "CAMPAIGN_NOT_FOUND", "CampaignNotFound"), (CODE.DATA_LOSS, "SHARD_DIVERGED", "ShardDiverged"),
    (CODE.FAILED_PRECONDITION, "NEWER", "CouponError"),
])
def test_refusals_are_not_repeated(client, sdk, router, code, reason, name):
    router.answers = [status(code, reason, start_time="2030-01-01T00:00:01.5Z", server_time="2030-01-01T00:00:00Z")]
    with pytest.raises(sdk.CouponError) as caught:
        client.issue_coupon(campaign_id="spring", recipient="ann")
    error = caught.value
    assert type(error) is getattr(sdk, name)
    assert (error.code, error.reason, error.message, error.attempts) == (code, reason, "no", 1)
    assert error.request_id == request_ids(router, sdk)[0]
    if name == "NotStarted":
        assert error.start_time == datetime(2030, 1, 1, 0, 0, 1, 500_000, timezone.utc)
        assert error.starts_in == timedelta(seconds=1.5)


def test_a_call_that_is_given_up_unchanged_says_why(client, sdk, router):
    router.answers = [status(CODE.UNAVAILABLE, "NO_LEADER", 60_000)]
    with pytest.raises(sdk.NoLeader) as caught:
        client.issue_coupon(campaign_id="spring")
    # The server asks for more time than the call has.
    assert (caught.value.retry_after, caught.value.attempts) == (60, 1)
    assert isinstance(caught.value, sdk.Unavailable)


@pytest.mark.parametrize("last, is_unknown", [
    (status(CODE.UNAVAILABLE, "NO_LEADER", 60_000), True),
    # It speaks of its own attempt only.
    (status(CODE.FAILED_PRECONDITION, "PAUSED"), True),
    # Quota can be returned before the first attempt arrives.
    (status(CODE.FAILED_PRECONDITION, "SOLD_OUT"), True),
    # The server looked for the request id first.
    (status(CODE.FAILED_PRECONDITION, "ENDED"), False),
], ids=["NO_LEADER", "PAUSED", "SOLD_OUT", "ENDED"])
def test_an_outcome_stays_unknown_until_an_answer_settles_it(client, sdk, router, last, is_unknown):
    router.answers = [status(CODE.UNAVAILABLE, "OUTCOME_UNKNOWN"), last]
    with pytest.raises(sdk.CouponError) as caught:
        client.issue_coupon(campaign_id="spring")
    assert isinstance(caught.value, sdk.OutcomeUnknown) == is_unknown
    assert caught.value.attempts == 2
    assert caught.value.request_id == request_ids(router, sdk)[0]


def test_a_fault_makes_a_change_unknown_but_not_a_read(client, sdk, router):
    router.answers = [status(CODE.INTERNAL, "INTERNAL")] * 2
    with pytest.raises(sdk.OutcomeUnknown):
        client.issue_coupon(campaign_id="spring")
    with pytest.raises(sdk.Internal):
        client.get_campaign(campaign_id="spring")


def test_reads_are_repeated_without_an_id(client, sdk, router):
    found = sdk.v1.GetCampaignResponse(campaign=sdk.v1.Campaign(quota=5))
    router.answers = [status(CODE.UNAVAILABLE, "NO_LEADER"), found]
    assert client.get_campaign(campaign_id="spring").campaign.quota == 5


def test_a_router_that_is_gone_is_passed_over(sdk, router):
    with fake_router() as gone:
        closed = gone.address
    router.answers = [coupon(sdk)] * 4
    with sdk.Client([closed, router.address]) as client:
        for _ in range(4):
            client.issue_coupon(campaign_id="spring")
    with sdk.Client(closed, sdk.RetryPolicy(give_up_after=0.2)) as client:
        # Nothing was sent, so nothing happened.
        with pytest.raises(sdk.TransportError) as caught:
            client.issue_coupon(campaign_id="spring")
    assert caught.value.code is CODE.UNAVAILABLE


def test_routers_take_turns(sdk, router):
    with fake_router() as other:
        router.answers, other.answers = [coupon(sdk)] * 2, [coupon(sdk)] * 2
        with sdk.Client([router.address, f"http://{other.address}"]) as client:
            for _ in range(4):
                client.issue_coupon(campaign_id="spring")
    assert not router.answers and not other.answers


@pytest.mark.parametrize("address", ["", "router", "https://router:7000", "http://router:7000/path", []])
def test_addresses_are_checked(sdk, address):
    with pytest.raises(ValueError, match="router|address"):
        sdk.Client(address)


def test_only_open_requests_of_a_batch_are_sent_again(client, sdk, router):
    def results(*given):
        answer = sdk.v1.BatchIssueCouponsResponse()
        for one in given:
            field = {"error": one} if isinstance(one, status_pb2.Status) else {"response": one}
            answer.results.append(sdk.v1.BatchIssueCouponsResult(**field))
        return answer

    router.answers = [
        status(CODE.UNAVAILABLE, "OVERLOADED", 1),
        results(coupon(sdk, "A"), status(CODE.UNAVAILABLE, "NO_LEADER"), status(CODE.FAILED_PRECONDITION, "SOLD_OUT")),
        results(coupon(sdk, "B")),
    ]
    requests = [sdk.v1.IssueCouponRequest(campaign_id=name) for name in ["a", "b", "c"]]
    first, second, third = client.batch_issue_coupons(requests)
    assert (first.coupon.code, second.coupon.code) == ("A", "B")
    assert isinstance(third, sdk.SoldOut) and third.attempts == 2
    sent = [sdk.v1.BatchIssueCouponsRequest.FromString(request).requests for _, request in router.asked]
    assert [[item.campaign_id for item in items] for items in sent] == [["a", "b", "c"], ["a", "b", "c"], ["b"]]
    assert sent[0][1].request_id == sent[1][1].request_id == sent[2][0].request_id == second_id(sent)
    assert not requests[0].request_id, "the caller's messages are left alone"


def second_id(sent):
    ids = {item.request_id for item in sent[0]}
    assert len(ids) == 3 and "" not in ids
    return sent[0][1].request_id


def test_pages_are_followed_and_repeated(client, sdk, router):
    page = sdk.v1.ListCampaignsResponse
    router.answers = [
        page(campaigns=[sdk.v1.Campaign(campaign_id="a")], next_page_token="2"),
        status(CODE.UNAVAILABLE, "NO_LEADER"),
        # A page may be empty, and not be the last one.
        page(next_page_token="3"),
        page(campaigns=[sdk.v1.Campaign(campaign_id="b")]),
    ]
    assert [found.campaign_id for found in client.list_campaigns(page_size=1)] == ["a", "b"]
    tokens = [sdk.v1.ListCampaignsRequest.FromString(request).page_token for _, request in router.asked]
    assert tokens == ["", "2", "2", "3"]


def test_a_list_that_lacks_something_says_so_at_its_end(client, sdk, router):
    page = sdk.v1.ListCouponsResponse
    router.answers = [
        page(coupons=[sdk.v1.Coupon(sequence=1)], unreachable=["shards/2"], next_page_token="2"),
        page(coupons=[sdk.v1.Coupon(sequence=2)], unreachable=["shards/5"]),
    ]
    listed = []
    with pytest.raises(sdk.Incomplete) as caught:
        for coupon in client.list_coupons(recipient="ann"):
            listed.append(coupon.sequence)
    assert (listed, caught.value.unreachable) == ([1, 2], ("shards/2", "shards/5"))
    assert pickle.loads(pickle.dumps(caught.value)).unreachable == caught.value.unreachable


def test_a_stream_is_begun_again_only_before_its_first_message(client, sdk, router):
    part = sdk.v1.StreamCouponsResponse(coupons=[sdk.v1.Coupon(sequence=1)])
    broken = status(CODE.UNAVAILABLE, "STREAM_BROKEN", 1)
    router.answers = [[broken], [part, part]]
    assert [coupon.sequence for coupon in client.stream_coupons(campaign_id="spring")] == [1, 1]
    router.answers = [[part, broken]]
    stream = client.stream_coupons(campaign_id="spring")
    assert next(stream).sequence == 1
    with pytest.raises(sdk.StreamBroken):
        next(stream)


def test_a_stream_goes_on_where_it_broke(client, sdk, router):
    def part(sequence, token):
        return sdk.v1.StreamCouponsResponse(coupons=[sdk.v1.Coupon(sequence=sequence)], resume_token=token)

    broken = status(CODE.UNAVAILABLE, "STREAM_BROKEN", 1)
    # The second stream ends without an error, and without the last part.
    router.answers = [[part(1, "a"), broken], [part(2, "b")], [broken], [part(3, "")]]
    assert [coupon.sequence for coupon in client.stream_coupons(campaign_id="spring")] == [1, 2, 3]
    tokens = [sdk.v1.StreamCouponsRequest.FromString(request).resume_token for _, request in router.asked]
    assert tokens == ["", "a", "b", "b"]

    router.answers = [[part(1, "a"), broken], [status(CODE.ABORTED, "REVISION_GONE")]]
    stream = client.stream_coupons(campaign_id="spring")
    assert next(stream).sequence == 1
    with pytest.raises(sdk.RevisionGone):
        next(stream)


def test_what_a_broken_stream_has_not_answered_is_asked_again_with_the_same_id(client, sdk, router):
    def answered(error=None):
        def answer(request):
            asked = sdk.v1.IssueStreamRequest.FromString(request)
            response = sdk.v1.IssueStreamResponse(tag=asked.tag)
            if error is not None:
                response.error.CopyFrom(error)
            elif asked.request.recipient == "dan":
                response.error.CopyFrom(status(CODE.FAILED_PRECONDITION, "SOLD_OUT"))
            else:
                response.response.coupon.recipient = asked.request.recipient
            return response
        return answer

    no_leader = status(CODE.UNAVAILABLE, "NO_LEADER", 1)
    broken = status(CODE.UNAVAILABLE, "", domain="")
    router.answers = [answered(), broken, answered(no_leader), answered(), answered(), answered()]
    requests = [sdk.v1.IssueCouponRequest(campaign_id="spring", recipient=name) for name in ["ann", "bob", "cat", "dan"]]
    results = list(client.issue_stream(requests, in_flight=2))
    assert sorted(request.recipient for request, _ in results) == ["ann", "bob", "cat", "dan"]
    refused = [result for _, result in results if isinstance(result, sdk.CouponError)]
    assert [type(error) for error in refused] == [sdk.SoldOut]
    for request, result in results:
        if not isinstance(result, sdk.CouponError):
            assert result.coupon.recipient == request.recipient
    asked = [sdk.v1.IssueStreamRequest.FromString(request).request for _, request in router.asked]
    ids = {}
    for request in asked:
        ids.setdefault(request.recipient, set()).add(request.request_id)
    assert all(len(of_recipient) == 1 for of_recipient in ids.values()) and len(ids) == 4
    assert len(asked) == 6
    assert not any(request.request_id for request in requests), "the caller's messages are left as they are"


def answer_each(sdk, arrived=None):
    """An answer to whatever is asked. Says when something has arrived."""
    def answer(request):
        asked = sdk.v1.IssueStreamRequest.FromString(request)
        response = sdk.v1.IssueStreamResponse(tag=asked.tag)
        response.response.coupon.recipient = asked.request.recipient
        if arrived is not None:
            arrived.release()
        return response
    return answer


def test_each_request_is_sent_before_the_next_one_is_taken(sdk, router):
    arrived = threading.Semaphore(0)

    def requests():
        for name in ["ann", "bob", "cat"]:
            yield sdk.v1.IssueCouponRequest(campaign_id="spring", recipient=name)
            assert arrived.acquire(timeout=30), f"{name} was not sent"

    router.answers = [answer_each(sdk, arrived)] * 3
    with sdk.Client(router.address) as client:
        results = list(client.issue_stream(requests()))
    assert [request.recipient for request, _ in results] == ["ann", "bob", "cat"]


def test_a_caller_for_asyncio_gets_answers_while_it_waits_for_requests(sdk, router):
    async def talk():
        answered = asyncio.Event()

        async def requests():
            for name in ["ann", "bob", "cat"]:
                answered.clear()
                yield sdk.v1.IssueCouponRequest(campaign_id="spring", recipient=name)
                await asyncio.wait_for(answered.wait(), 30)

        async with sdk.AsyncClient([router.address]) as client:
            names = []
            async for request, result in client.issue_stream(requests()):
                assert result.coupon.recipient == request.recipient
                names.append(request.recipient)
                answered.set()
            return names

    router.answers = [answer_each(sdk)] * 3
    assert asyncio.run(talk()) == ["ann", "bob", "cat"]


def importing(sdk, router, *faults):
    """Lets the router import codes, and answer with each of `faults` once before it does what it is asked."""
    seen, next_line = [], [1]

    def answer(request):
        asked = sdk.v1.ImportCodesRequest.FromString(request)
        if asked.codes:
            assert asked.first_line <= next_line[0]
            next_line[0] = max(next_line[0], asked.first_line + len(asked.codes))
            seen.append((asked.first_line, list(asked.codes)))
        refused = [sdk.v1.RefusedLine(line=asked.first_line + place, reason=sdk.v1.LINE_REFUSAL_REASON_MALFORMED)
                   for place, code in enumerate(asked.codes) if len(code) > 64]
        return sdk.v1.ImportCodesResponse(next_line=next_line[0], imported=next_line[0] - 1, refused_lines=refused)

    router.answers = [*faults, *[answer] * 9]
    return seen


def test_an_import_is_sent_in_messages_and_again_where_there_is_no_answer(client, sdk, router):
    broken = status(CODE.UNAVAILABLE, "", domain="")
    seen = importing(sdk, router, status(CODE.UNAVAILABLE, "NO_LEADER", 1), broken)
    codes = [f"GIFT-{number}" for number in range(1, 2_501)]
    codes[9] = "x" * 1_000
    result = client.import_codes(campaign_id="gifts", codes=iter(codes))
    assert (result.next_line, result.imported) == (2_501, 2_500)
    assert [refused.line for refused in result.refused_lines] == [10]
    assert [first for first, _ in seen] == [1, 1_001, 2_001]
    assert sum((codes for _, codes in seen), [])[10:] == codes[10:]
    asked = [sdk.v1.ImportCodesRequest.FromString(request) for _, request in router.asked]
    assert {request.import_id for request in asked} == {result.import_id} and len(result.import_id) == 36
    # The same again is told the same.
    again = client.import_codes(campaign_id="gifts", codes=codes, import_id=result.import_id)
    assert (again, len(seen)) == (result, 6)


def test_the_ends_of_lines_are_no_part_of_codes(client, sdk, router):
    seen = importing(sdk, router)
    client.import_codes(campaign_id="gifts", codes=io.StringIO("GIFT-1\r\n\nGIFT-3"))
    assert seen == [(1, ["GIFT-1", "", "GIFT-3"])]


def test_an_import_without_codes_asks_how_far_it_has_come(client, sdk, router):
    importing(sdk, router)
    assert client.import_codes(campaign_id="gifts", codes=[]).next_line == 1
    assert len(router.asked) == 1


def test_a_refusal_ends_an_import(client, sdk, router):
    importing(sdk, router, status(CODE.FAILED_PRECONDITION, "CODES_NOT_IMPORTED"))
    with pytest.raises(sdk.CodesNotImported):
        client.import_codes(campaign_id="gifts", codes=["GIFT-1"])


def test_neither_codes_nor_recipients_are_shown(client, sdk, router, caplog):
    router.answers = [status(CODE.ALREADY_EXISTS, "RECIPIENT_LIMIT_REACHED", codes="SECRET1,SECRET2")]
    with pytest.raises(sdk.RecipientLimitReached) as caught:
        client.issue_coupon(campaign_id="spring", recipient="ann@example.com")
    error = caught.value
    assert error.codes == ("SECRET1", "SECRET2")
    shown = f"{error} {error!r} {error.args} {caplog.text}"
    assert "RECIPIENT_LIMIT_REACHED" in shown
    assert "SECRET" not in shown and "ann@" not in shown
    assert error.__suppress_context__, "gRPC's own error is not shown beside it"


def test_exceptions_can_be_pickled(client, sdk, router):
    router.answers = [status(CODE.FAILED_PRECONDITION, "SOLD_OUT", key="value")]
    with pytest.raises(sdk.SoldOut) as caught:
        client.issue_coupon(campaign_id="spring")
    copied = pickle.loads(pickle.dumps(caught.value))
    assert repr(copied) == repr(caught.value) and copied.metadata == {"key": "value"}


def test_reasons_of_other_domains_are_not_ours(client, sdk, router):
    router.answers = [status(CODE.FAILED_PRECONDITION, "SOLD_OUT", domain="example.com")]
    with pytest.raises(sdk.TransportError) as caught:
        client.issue_coupon(campaign_id="spring")
    assert caught.value.reason == ""


def test_a_time_without_an_offset_is_refused(client, sdk):
    with pytest.raises(ValueError, match="offset"):
        client.create_campaign(campaign_id="spring", quota=1, start_time=datetime(2030, 1, 1))


def test_pauses_double_up_to_a_bound_and_are_never_shorter_than_asked(sdk):
    from coupon_client._retry import RetrySchedule

    policy = sdk.RetryPolicy(attempt_timeout=1, give_up_after=5, backoff_min=0.02, backoff_max=0.32)
    for jitter, of_usual in [(0.0, 0.5), (1.0, 1.0)]:
        schedule = RetrySchedule(policy, None, 0)
        pauses = [schedule.pause(None, jitter, 0) for _ in range(6)]
        assert pauses == pytest.approx([usual * of_usual for usual in [0.02, 0.04, 0.08, 0.16, 0.32, 0.32]])
    assert 0.5 <= RetrySchedule(policy, None, 0).pause(0.5, 0.3, 0) <= 0.75
    schedule = RetrySchedule(policy, 2, 0)
    assert (schedule.timeout(0), schedule.timeout(1.5), schedule.timeout(3)) == (1, 0.5, 0.001)
    assert schedule.pause(0.45, 0.0, 1.5) is None, "an attempt of 50 ms is no use"


def test_a_watch_goes_on_after_its_last_message(client, sdk, router):
    def seen(revision, state=sdk.v1.CAMPAIGN_STATE_ACTIVE):
        return sdk.v1.WatchCampaignResponse(campaign=sdk.v1.Campaign(revision=revision, state=state))

    broken = status(CODE.UNAVAILABLE, "STREAM_BROKEN", retry_millis=1)
    paused = sdk.v1.CAMPAIGN_STATE_PAUSED
    router.answers = [[broken], [seen(5), seen(7, paused), broken], [], [seen(8)],
                      [status(CODE.NOT_FOUND, "CAMPAIGN_NOT_FOUND")]]
    watch = client.watch_campaign(campaign_id="spring")
    assert [next(watch).revision for _ in range(3)] == [5, 7, 8]
    with pytest.raises(sdk.CampaignNotFound):
        next(watch)
    asked = [sdk.v1.WatchCampaignRequest.FromString(request) for _, request in router.asked]
    assert [(request.after_revision, request.after_state) for request in asked] == [
        (0, 0), (0, 0), (7, paused), (7, paused), (8, sdk.v1.CAMPAIGN_STATE_ACTIVE)]


def test_a_watch_gives_up_when_it_is_out_of_reach_for_too_long(client, sdk, router):
    no_leader = status(CODE.UNAVAILABLE, "NO_LEADER", retry_millis=1)
    router.answers = [[no_leader]] * 10_000
    with pytest.raises(sdk.NoLeader):
        next(client.watch_campaign(campaign_id="spring", timeout=0.3))


def test_a_stream_of_events_goes_on_after_its_last_event(client, sdk, router):
    def happened(*revisions):
        events = [sdk.v1.Event(revision=revision, history_id=3) for revision in revisions]
        return sdk.v1.StreamEventsResponse(events=events)

    broken = status(CODE.UNAVAILABLE, "STREAM_BROKEN", retry_millis=1)
    changed = status(CODE.FAILED_PRECONDITION, "HISTORY_CHANGED", history_id="4")
    router.answers = [[happened(1, 2), broken], [happened(3), happened(4, 5)], [changed]]
    stream = client.stream_events(campaign_id="spring")
    assert [next(stream).revision for _ in range(5)] == [1, 2, 3, 4, 5]
    with pytest.raises(sdk.HistoryChanged) as caught:
        next(stream)
    assert caught.value.history_id == 4
    asked = [sdk.v1.StreamEventsRequest.FromString(request) for _, request in router.asked]
    assert [(request.after_revision, request.history_id) for request in asked] == [(0, 0), (2, 3), (5, 3)]
