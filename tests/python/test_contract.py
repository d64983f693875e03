"""The contract as tools read it: the OpenAPI document, and the check for changes that break clients."""

import json
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 20

CAMPAIGNS = "/coupon.v1.CampaignService"
COUPONS = "/coupon.v1.CouponService"


@pytest.fixture(scope="module")
def document(channel, address):
    with urllib.request.urlopen(f"http://{address}/openapi.json", timeout=SECONDS) as answer:
        assert answer.headers["content-type"] == "application/json"
        return json.load(answer)


@pytest.fixture(scope="module")
def descriptors(modules):
    """The services by their full names."""
    files = [module.DESCRIPTOR for name, module in modules.items() if name.endswith("_pb2")]
    return {service.full_name: service for file in files for service in file.services_by_name.values()}


def post(address, path, message):
    request = urllib.request.Request(
        f"http://{address}{path}", json.dumps(message).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_document_is_valid(document):
    openapi_spec_validator = pytest.importorskip("openapi_spec_validator")
    assert document["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(document)


def test_every_unary_method_is_in_the_document_with_its_fields(document, descriptors):
    expected = {f"/{name}/{method.name}": method for name, service in descriptors.items()
                for method in service.methods if not method.client_streaming and not method.server_streaming}
    assert set(document["paths"]) == set(expected)
    schemas = document["components"]["schemas"]
    for path, method in expected.items():
        operation = document["paths"][path]["post"]
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        for message, reference in [
                (method.input_type, body),
                (method.output_type, operation["responses"]["200"]["content"]["application/json"]["schema"])]:
            assert reference == {"$ref": f"#/components/schemas/{message.full_name}"}
            fields = {field.json_name for field in message.fields}
            assert set(schemas[message.full_name]["properties"]) == fields
        assert operation["summary"], path


def test_real_answers_are_as_the_document_says(document, address):
    jsonschema = pytest.importorskip("jsonschema")

    def check(path, message):
        status, answer = post(address, path, message)
        responses = document["paths"][path]["post"]["responses"]
        response = responses["200"] if status == 200 else document["components"]["responses"]["Error"]
        schema = {**response["content"]["application/json"]["schema"], "components": document["components"]}
        jsonschema.validate(answer, schema, jsonschema.Draft202012Validator)
        return status, answer

    campaign_id = f"openapi-{uuid.uuid4()}"
    created = {"campaignId": campaign_id, "quota": "1", "labels": {"team": "a"}, "couponTtl": "3600s",
               "startTime": "2026-01-01T00:00:00+09:00"}
    assert check(f"{CAMPAIGNS}/CreateCampaign", created)[0] == 200
    status, issued = check(f"{COUPONS}/IssueCoupon", {"campaignId": campaign_id, "metadata": {"order": "7"}})
    assert status == 200
    assert check(f"{CAMPAIGNS}/GetCampaign", {"campaignId": campaign_id})[0] == 200
    assert check(f"{COUPONS}/ListCoupons", {"campaignId": campaign_id})[0] == 200
    code = {"code": issued["coupon"]["code"]}
    assert check(f"{COUPONS}/RedeemCoupon", code)[0] == 200
    status, validated = check(f"{COUPONS}/ValidateCoupon", code)
    assert status == 200 and "error" in validated
    batch = {"requests": [{"campaignId": campaign_id}] * 2}
    assert check(f"{COUPONS}/BatchIssueCoupons", batch)[0] == 200
    status, sold_out = check(f"{COUPONS}/IssueCoupon", {"campaignId": campaign_id})
    assert (status, sold_out["code"]) == (400, "failed_precondition")
    assert check(f"{COUPONS}/IssueCoupon", {})[0] == 400


@pytest.fixture
def clone(tmp_path):
    """A repository with the definitions and the check, and one commit."""
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "breaking", tmp_path / ".ci")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "The definitions")
    return tmp_path


def git(clone, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=clone, check=True, capture_output=True)


def commit(clone, message):
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", message)


def breaking(clone):
    buf_bin = pytest.importorskip("buf_bin")
    buf = Path(buf_bin.__file__).parent.parent / "bin" / "buf"
    return subprocess.run([".ci/breaking", buf], cwd=clone, capture_output=True, encoding="utf-8", timeout=60)


def change(clone, old, new):
    path = clone / "proto/proto/coupon/v1/coupon_service.proto"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_a_change_that_breaks_clients_is_found_unless_it_is_meant(clone):
    first = breaking(clone)
    assert first.returncode == 0 and "SKIPPED" in first.stderr
    change(clone, "  bool replayed = 2;", "  bool replayed = 2;\n  // A new field.\n  bool is_new = 900;")
    commit(clone, "A field is added")
    assert breaking(clone).returncode == 0

    change(clone, "  string order_ref = 3;", "  int32 order_ref = 3;")
    dirty = breaking(clone)
    assert dirty.returncode == 1 and '"order_ref" on message "RedeemCouponRequest"' in dirty.stdout
    assert "Breaking: " in dirty.stderr
    commit(clone, "A type is changed")
    assert breaking(clone).returncode == 1
    git(clone, "commit", "--quiet", "--amend", "--message", "A type\n\nBreaking: coupon.v1.VoidCouponRequest")
    assert breaking(clone).returncode == 1
    git(clone, "commit", "--quiet", "--amend", "--message", "A type\n\nBreaking: coupon.v1.RedeemCouponRequest")
    meant = breaking(clone)
    assert meant.returncode == 0, meant.stdout
    internal = clone / "proto/proto/coupon/internal/v1/backup.proto"
    internal.unlink()
    commit(clone, "A format inside the cluster")
    assert breaking(clone).returncode == 0, "formats inside the cluster have versions of their own"
