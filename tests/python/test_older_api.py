"""The older API, `couponpb.CouponService`, as the clients use it that were made for it."""

import http.client
import json
import shutil
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

# Each call has a deadline, as a careful client's do; nothing here comes near it.
SECONDS = 20
SERVICE = "couponpb.CouponService"

NOT_STARTED = "coupon issuance not started yet"
SOLD_OUT = "no more coupons available"

# How long before its start a campaign is created, in seconds.
EARLY = 3
CALLERS = 32


class Refused(Exception):
    """An error of any protocol, its code as Connect writes it."""

    def __init__(self, code, message):
        super().__init__(code, message)
        self.code, self.message = code, message


class GrpcClient:
    def __init__(self, address, pb, pb_grpc):
        self._channel = grpc.insecure_channel(address)
        self._stub = pb_grpc.CouponServiceStub(self._channel)

    def call(self, method, request):
        try:
            return getattr(self._stub, method)(request, timeout=SECONDS)
        except grpc.RpcError as error:
            raise Refused(error.code().name.lower(), error.details()) from None

    def close(self):
        self._channel.close()


class JsonClient:
    """Connect in JSON, with a new connection for each request."""

    def __init__(self, address, pb, pb_grpc):
        self._address, self._pb = address, pb

    def call(self, method, request):
        connection = http.client.HTTPConnection(self._address, timeout=SECONDS)
        try:
            headers = {"Content-Type": "application/json", "Connect-Protocol-Version": "1",
                       "Connect-Timeout-Ms": str(SECONDS * 1000)}
            connection.request("POST", f"/{SERVICE}/{method}", json_format.MessageToJson(request), headers)
            answer = connection.getresponse()
            body = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(body["code"], body["message"])
        return json_format.ParseDict(body, getattr(self._pb, f"{method}Response")())

    def close(self):
        pass


class BinaryClient:
    """Connect in binary, by its library."""

    def __init__(self, address, pb, pb_grpc):
        pytest.importorskip("connectrpc", reason="connectrpc needs Python 3.11")
        from connectrpc.client import ConnectClientSync
        from connectrpc.compat import google_protobuf_binary_codec
        from connectrpc.errors import ConnectError

        self._pb, self._error = pb, ConnectError
        self._client = ConnectClientSync(
            f"http://{address}", codec=google_protobuf_binary_codec(), timeout_ms=SECONDS * 1000)

    def call(self, method, request):
        from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType

        level = IdempotencyLevel.NO_SIDE_EFFECTS if method.startswith("Get") else IdempotencyLevel.UNKNOWN
        info = MethodInfo(
            name=method, service_name=SERVICE, input=getattr(self._pb, f"{method}Request"),
            output=getattr(self._pb, f"{method}Response"), idempotency_level=level,
            stream_type=StreamType.UNARY)
        try:
            return self._client.execute_unary(request=request, method=info)
        except self._error as error:
            raise Refused(error.code.value, error.message) from None

    def close(self):
        self._client.close()


CLIENTS = {"grpc": GrpcClient, "json": JsonClient, "binary": BinaryClient}


@contextmanager
def open_client(protocol, address, modules):
    client = CLIENTS[protocol](address, modules["older_pb2"], modules["older_pb2_grpc"])
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="module")
def pb(modules):
    return modules["older_pb2"]


@pytest.fixture(params=CLIENTS)
def client(request, channel, address, modules):
    with open_client(request.param, address, modules) as client:
        yield client


def create(client, pb, total, start=None):
    start_time = None
    if start is not None:
        start_time = Timestamp()
        start_time.FromDatetime(start)
    request = pb.CreateCampaignRequest(name="선착순", start_time=start_time, total_coupons=total)
    return client.call("CreateCampaign", request).campaign_id


def issue(client, pb, campaign_id):
    return client.call("IssueCoupon", pb.IssueCouponRequest(campaign_id=campaign_id)).coupon_code


def get(client, pb, campaign_id):
    return client.call("GetCampaign", pb.GetCampaignRequest(campaign_id=campaign_id))


def issue_once_started(client, pb, campaign_id):
    """The first coupon, as soon as there is one."""
    while True:
        try:
            return issue(client, pb, campaign_id)
        except Refused as refused:
            if refused.message != NOT_STARTED:
                raise
            time.sleep(0.005)


@pytest.fixture(scope="module")
def early(channel, address, modules, pb):
    """When the campaigns of the rush start, and their ids, by protocol; created together, so that all wait once."""
    start = datetime.now(timezone.utc) + timedelta(seconds=EARLY)
    created = {}
    for protocol in CLIENTS:
        try:
            with open_client(protocol, address, modules) as client:
                campaign_id = create(client, pb, 2_000, start)
                with pytest.raises(Refused) as refused:
                    issue(client, pb, campaign_id)
        except pytest.skip.Exception:
            continue
        assert (refused.value.code, refused.value.message) == ("failed_precondition", NOT_STARTED)
        created[protocol] = campaign_id
    return start, created


@pytest.mark.parametrize("protocol", CLIENTS)
def test_a_rush_gets_exactly_the_codes_that_the_campaign_lists(early, address, modules, pb, protocol):
    start, created = early
    with open_client(protocol, address, modules) as client:
        campaign_id = created[protocol]
        first = issue_once_started(client, pb, campaign_id)
        assert datetime.now(timezone.utc) >= start
        with ThreadPoolExecutor(CALLERS) as callers:
            rush = callers.map(lambda _: issue(client, pb, campaign_id), range(999))
            codes = [first, *rush]
        shown = get(client, pb, campaign_id)
    assert (shown.campaign.id, shown.campaign.total_coupons) == (campaign_id, 2_000)
    assert shown.campaign.name == "선착순"
    assert shown.campaign.start_time.ToDatetime(timezone.utc) == start
    assert len(set(codes)) == 1_000
    assert sorted(shown.coupon_codes) == sorted(codes)
    assert shown.coupon_codes[0] == first
    assert all(len(code) == 10 for code in codes)


def test_quota_and_refusals(client, pb):
    campaign_id = create(client, pb, 2)
    codes = [issue(client, pb, campaign_id) for _ in range(2)]
    with pytest.raises(Refused) as sold_out:
        issue(client, pb, campaign_id)
    assert (sold_out.value.code, sold_out.value.message) == ("failed_precondition", SOLD_OUT)
    assert list(get(client, pb, campaign_id).coupon_codes) == codes
    for call in [issue, get]:
        with pytest.raises(Refused) as unknown:
            call(client, pb, campaign_id + 1_000_000)
        assert unknown.value.code == "not_found"
    with pytest.raises(Refused) as invalid:
        create(client, pb, 0)
    assert invalid.value.code == "invalid_argument"
    assert invalid.value.message.startswith("total_coupons: ")


def test_both_apis_serve_the_same_campaigns(client, pb, api):
    campaign_id = f"py-{uuid.uuid4()}"
    request = api.campaign_pb.CreateCampaignRequest(campaign_id=campaign_id, quota=2)
    made = api.campaigns.CreateCampaign(request, timeout=SECONDS).campaign
    code = issue(client, pb, made.numeric_id)
    request = api.coupon_pb.IssueCouponRequest(campaign_id=campaign_id, recipient="ann")
    coupon = api.coupons.IssueCoupon(request, timeout=SECONDS).coupon
    assert list(get(client, pb, made.numeric_id).coupon_codes) == [code, coupon.code]

    request = api.coupon_pb.ListCouponsRequest(campaign_id=campaign_id)
    listed = api.coupons.ListCoupons(request, timeout=SECONDS).coupons
    assert [(coupon.code, coupon.recipient) for coupon in listed] == [(code, ""), (coupon.code, "ann")]


def test_all_codes_of_a_large_campaign_are_listed(address, modules, pb, api):
    total = 100_000
    with open_client("grpc", address, modules) as client:
        numeric_id = create(client, pb, total)
        request = api.campaign_pb.ListCampaignsRequest(page_size=1_000)
        campaigns = api.campaigns.ListCampaigns(request, timeout=SECONDS).campaigns
        campaign_id = next(c.campaign_id for c in campaigns if c.numeric_id == numeric_id)

        def batch(_):
            requests = [api.coupon_pb.IssueCouponRequest(campaign_id=campaign_id)] * 1_000
            request = api.coupon_pb.BatchIssueCouponsRequest(requests=requests)
            return [(result.response.coupon.sequence, result.response.coupon.code)
                    for result in api.coupons.BatchIssueCoupons(request, timeout=60).results]

        with ThreadPoolExecutor(4) as callers:
            issued = [coupon for batch in callers.map(batch, range(total // 1_000)) for coupon in batch]
        codes = [code for _, code in sorted(issued)]
        assert len(set(codes)) == total
        assert list(get(client, pb, numeric_id).coupon_codes) == codes
    with open_client("json", address, modules) as client:
        assert list(get(client, pb, numeric_id).coupon_codes) == codes


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_writes_ids_as_numbers_or_text(channel, address, version):
    def post(method, message):
        command = ["curl", "--silent", "--show-error", "--max-time", str(SECONDS), version,
                   "--header", "Content-Type: application/json", "--data", message,
                   f"http://{address}/{SERVICE}/{method}"]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    created = post("CreateCampaign", '{"name": "curl", "totalCoupons": 2}')
    campaign_id = created["campaignId"]
    assert isinstance(campaign_id, str) and int(campaign_id) > 0
    codes = [post("IssueCoupon", f'{{"campaignId": {form}}}')["couponCode"]
             for form in [campaign_id, f'"{campaign_id}"']]
    shown = post("GetCampaign", f'{{"campaign_id": {campaign_id}}}')
    assert shown["couponCodes"] == codes
    assert (shown["campaign"]["id"], shown["campaign"]["totalCoupons"]) == (campaign_id, "2")
    refused = post("IssueCoupon", f'{{"campaignId": {campaign_id}}}')
    assert (refused["code"], refused["message"]) == ("failed_precondition", SOLD_OUT)


@pytest.mark.parametrize("protocol", ["connect", "grpc", "grpcweb"])
def test_buf_curl_calls_by_reflection(channel, address, protocol):
    buf_bin = pytest.importorskip("buf_bin")
    buf = Path(buf_bin.__file__).parent.parent / "bin" / "buf"

    def call(method, message):
        command = [buf, "curl", "--data", json.dumps(message), "--protocol", protocol,
                   "--http2-prior-knowledge", f"http://{address}/{SERVICE}/{method}"]
        return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS)

    created = call("CreateCampaign", {"name": "buf", "totalCoupons": 1})
    assert created.returncode == 0, created.stderr
    message = json.loads(created.stdout)
    issued = call("IssueCoupon", message)
    assert issued.returncode == 0, issued.stderr
    refused = call("IssueCoupon", message)
    # The exit code is eight times the code of gRPC, here FAILED_PRECONDITION.
    assert refused.returncode == 9 * 8, refused.stderr
    assert json.loads(refused.stderr)["message"] == SOLD_OUT
    shown = call("GetCampaign", message)
    assert json.loads(shown.stdout)["couponCodes"] == [json.loads(issued.stdout)["couponCode"]], shown.stderr
