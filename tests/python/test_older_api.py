"""The older API, `couponpb.CouponService`, as the clients use it that were made for it."""

import json
import shutil
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from older_clients import CLIENTS, SECONDS, SERVICE, SOLD_OUT, Refused, open_client

@pytest.fixture(scope="module")
def pb(modules):
    return modules["older_pb2"]


@pytest.fixture(params=CLIENTS)
def client(request, channel, address, modules):
    with open_client(request.param, address, modules) as client:
        yield client


def create(client, pb, total):
    request = pb.CreateCampaignRequest(name="선착순", total_coupons=total)
    return client.call("CreateCampaign", request).campaign_id


def issue(client, pb, campaign_id):
    return client.call("IssueCoupon", pb.IssueCouponRequest(campaign_id=campaign_id)).coupon_code


def get(client, pb, campaign_id):
    return client.call("GetCampaign", pb.GetCampaignRequest(campaign_id=campaign_id))


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
