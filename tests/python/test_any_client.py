"""Campaigns and coupons, seen by clients of Connect, gRPC-Web and plain HTTP that others wrote."""

import base64
import json
import shutil
import subprocess
import urllib.parse
import uuid
from pathlib import Path

import pytest
from google.rpc import error_details_pb2

buf_bin = pytest.importorskip("buf_bin")
BUF = Path(buf_bin.__file__).parent.parent / "bin" / "buf"

SECONDS = 20
CAMPAIGNS = "coupon.v1.CampaignService"
COUPONS = "coupon.v1.CouponService"

curl_is_there = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture(scope="session")
def ready(channel, address):
    """The address of a router that serves."""
    return address


def new_id():
    return f"py-{uuid.uuid4()}"


class Answered:
    """What curl shows of an answer."""

    def __init__(self, output):
        head, _, self.body = output.partition("\r\n\r\n")
        self.version, status, *_ = head.split("\r\n")[0].split(" ")
        self.status = int(status)
        lines = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
        self.headers = {name.lower(): value for name, value in lines}

    def json(self):
        return json.loads(self.body)


def curl(address, path, *arguments):
    command = ["curl", "--silent", "--show-error", "--include", "--max-time", str(SECONDS),
               *arguments, f"http://{address}/{path}"]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    return Answered(output.decode())


def post(address, method, message, *arguments):
    return curl(address, method, "--header", "Content-Type: application/json",
                "--data", json.dumps(message), *arguments)


def create(address, quota=10, **fields):
    campaign_id = new_id()
    message = {"campaignId": campaign_id, "quota": quota, **fields}
    created = post(address, f"{CAMPAIGNS}/CreateCampaign", message)
    assert created.status == 200, created.body
    return campaign_id


@curl_is_there
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_issues_coupons_in_json(ready, version):
    campaign_id = create(ready, quota=1, display_name="첫 캠페인", perRecipientLimit=1)
    message = {"campaignId": campaign_id, "recipient": "한사람", "request_id": str(uuid.uuid4())}
    issued = post(ready, f"{COUPONS}/IssueCoupon", message, version)
    assert (issued.status, issued.headers["content-type"]) == (200, "application/json")
    assert issued.version == {"--http1.1": "HTTP/1.1"}.get(version, "HTTP/2")
    coupon = issued.json()["coupon"]
    assert (coupon["sequence"], coupon["state"]) == ("1", "COUPON_STATE_ISSUED")
    again = post(ready, f"{COUPONS}/IssueCoupon", message, version).json()
    assert again == {"coupon": coupon, "replayed": True}

    message = {"campaignId": campaign_id, "recipient": "late"}
    refused = post(ready, f"{COUPONS}/IssueCoupon", message, version)
    error = refused.json()
    assert (refused.status, error["code"]) == (400, "failed_precondition")
    assert error["message"] == "no more coupons available"
    (detail,) = error["details"]
    assert detail["type"] == "google.rpc.ErrorInfo"
    assert detail["debug"] == {"reason": "SOLD_OUT", "domain": "coupon.v1"}
    padding = "=" * (-len(detail["value"]) % 4)
    info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(detail["value"] + padding))
    assert info.reason == "SOLD_OUT"


@curl_is_there
def test_curl_reads_by_get_and_compressed(ready):
    campaign_id = create(ready, quota=100)
    requests = [{"campaignId": campaign_id, "recipient": f"r{number}"} for number in range(100)]
    batch = post(ready, f"{COUPONS}/BatchIssueCoupons", {"requests": requests}, "--compressed")
    assert batch.headers["content-encoding"] == "gzip"
    assert len(batch.json()["results"]) == 100

    message = urllib.parse.quote(json.dumps({"campaignId": campaign_id}))
    shown = curl(ready, f"{CAMPAIGNS}/GetCampaign?connect=v1&encoding=json&message={message}")
    assert shown.status == 200 and shown.headers["cache-control"] == "no-store"
    assert shown.json()["campaign"]["issued"] == "100"
    refused = curl(ready, f"{COUPONS}/IssueCoupon?encoding=json&message={message}")
    assert (refused.status, refused.headers["allow"]) == (405, "POST")


@curl_is_there
def test_errors_of_curl_are_explained(ready):
    issue = f"{COUPONS}/IssueCoupon"
    unknown = post(ready, issue, {"campaignId": new_id()})
    assert (unknown.status, unknown.json()["code"]) == (404, "not_found")
    broken = curl(ready, issue, "--header", "Content-Type: application/json", "--data", "{")
    error = broken.json()
    assert (broken.status, error["code"]) == (400, "invalid_argument")
    assert [detail["debug"] for detail in error["details"]][0]["reason"] == "FIELD_VIOLATIONS"
    form = curl(ready, issue, "--data", "a=b")
    assert form.status == 415 and "application/json" in form.headers["accept-post"]
    assert curl(ready, "nonsense").status == 404


@curl_is_there
def test_pages_say_what_it_is_and_how_it_is(ready):
    assert "Coupon" in curl(ready, "").body
    assert curl(ready, "healthz").status == 200
    assert curl(ready, "readyz").status == 200


def buf_curl(address, method, message, *arguments):
    command = [BUF, "curl", "--data", json.dumps(message), *arguments, f"http://{address}/{method}"]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS)


@pytest.mark.parametrize("arguments", [
    ["--protocol", "connect", "--http2-prior-knowledge"],
    ["--protocol", "grpc", "--http2-prior-knowledge"],
    ["--protocol", "grpcweb", "--http2-prior-knowledge"],
], ids=["connect", "grpc", "grpcweb"])
def test_buf_curl_calls_by_reflection(ready, arguments):
    campaign_id = new_id()
    message = {"campaignId": campaign_id, "quota": 2}
    created = buf_curl(ready, f"{CAMPAIGNS}/CreateCampaign", message, *arguments)
    assert created.returncode == 0, created.stderr
    message = {"campaignId": campaign_id}
    for sequence in ["1", "2"]:
        issued = buf_curl(ready, f"{COUPONS}/IssueCoupon", message, *arguments)
        assert issued.returncode == 0, issued.stderr
        assert json.loads(issued.stdout)["coupon"]["sequence"] == sequence
    # The exit code is eight times the code of gRPC, here FAILED_PRECONDITION.
    refused = buf_curl(ready, f"{COUPONS}/IssueCoupon", message, *arguments)
    assert refused.returncode == 9 * 8, refused.stderr
    assert json.loads(refused.stderr)["message"] == "no more coupons available"
    # Not every protocol has the reason in plain text.
    assert "google.rpc.ErrorInfo" in refused.stderr
    streamed = buf_curl(ready, f"{COUPONS}/StreamCoupons", message, *arguments)
    assert streamed.returncode == 0, streamed.stderr
    assert [coupon["sequence"] for coupon in json.loads(streamed.stdout)["coupons"]] == ["1", "2"]


@pytest.mark.parametrize("protocol", ["connect", "grpcweb"])
def test_buf_curl_calls_over_http_1(ready, protocol):
    root = Path(__file__).resolve().parent.parent.parent
    arguments = ["--protocol", protocol, "--schema", root / "proto"]
    message = {"campaignId": new_id(), "quota": 1}
    created = buf_curl(ready, f"{CAMPAIGNS}/CreateCampaign", message, *arguments)
    assert created.returncode == 0, created.stderr
    issued = buf_curl(ready, f"{COUPONS}/IssueCoupon", {"campaignId": message["campaignId"]}, *arguments)
    assert json.loads(issued.stdout)["coupon"]["sequence"] == "1", issued.stderr


@pytest.mark.parametrize("is_json", [False, True], ids=["binary", "json"])
@pytest.mark.parametrize("protocol", ["CONNECT", "GRPC", "GRPC_WEB"])
def test_connect_for_python_issues_coupons(ready, modules, protocol, is_json):
    pytest.importorskip("connectrpc", reason="connectrpc needs Python 3.11")
    from connectrpc.client import ConnectClientSync
    from connectrpc.code import Code
    from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
    from connectrpc.errors import ConnectError
    from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
    from connectrpc.protocol import ProtocolType
    from pyqwest import HTTPVersion, SyncClient, SyncHTTPTransport

    campaign_pb, coupon_pb = modules["campaign_service_pb2"], modules["coupon_service_pb2"]

    def method(service, name, module, stream_type=StreamType.UNARY):
        level = IdempotencyLevel.NO_SIDE_EFFECTS if name.startswith("Get") else IdempotencyLevel.UNKNOWN
        return MethodInfo(
            name=name, service_name=service, input=getattr(module, f"{name}Request"),
            output=getattr(module, f"{name}Response"), idempotency_level=level,
            stream_type=stream_type)

    codec = google_protobuf_json_codec() if is_json else google_protobuf_binary_codec()
    version = HTTPVersion.HTTP2 if protocol == "GRPC" else HTTPVersion.HTTP1
    with SyncHTTPTransport(http_version=version) as transport, ConnectClientSync(
            f"http://{ready}", codec=codec, protocol=ProtocolType[protocol],
            http_client=SyncClient(transport), timeout_ms=SECONDS * 1000) as client:
        campaign_id = new_id()
        client.execute_unary(
            request=campaign_pb.CreateCampaignRequest(campaign_id=campaign_id, quota=2),
            method=method(CAMPAIGNS, "CreateCampaign", campaign_pb))
        request = coupon_pb.IssueCouponRequest(campaign_id=campaign_id, recipient="한사람")
        issue = method(COUPONS, "IssueCoupon", coupon_pb)
        for sequence in [1, 2]:
            issued = client.execute_unary(request=request, method=issue)
            assert issued.coupon.sequence == sequence
        with pytest.raises(ConnectError) as refused:
            client.execute_unary(request=request, method=issue)
        assert refused.value.code == Code.FAILED_PRECONDITION
        assert refused.value.message == "no more coupons available"
        assert len(refused.value.details) == 1

        shown = client.execute_unary(
            request=campaign_pb.GetCampaignRequest(campaign_id=campaign_id),
            method=method(CAMPAIGNS, "GetCampaign", campaign_pb), use_get=protocol == "CONNECT")
        assert shown.campaign.issued == 2
        streamed = client.execute_server_stream(
            request=coupon_pb.StreamCouponsRequest(campaign_id=campaign_id),
            method=method(COUPONS, "StreamCoupons", coupon_pb, StreamType.SERVER_STREAM))
        assert [coupon.sequence for part in streamed for coupon in part.coupons] == [1, 2]
