"""The examples in docs/examples: every RPC has one, and each works in all of its forms."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
DEFINITIONS = ROOT / "proto" / "proto"

SECONDS = 60

# The forms of an example: the language of its code, and what is in it.
FORMS = {"curl": ("sh", r"^ *curl "), "grpcurl": ("sh", r"^ *grpcurl "), "python": ("python", r"^\w")}

# What examples call, and the names in them.
ADDRESS, CAMPAIGN, CODE, HOLD, NUMBER = "127.0.0.1:7000", "spring", "CODE", "HOLD_ID", "4294967296"


def rpcs():
    """The RPCs of the public definitions, package.Service.Method."""
    for path in sorted([*DEFINITIONS.glob("coupon/v1/*.proto"), *DEFINITIONS.glob("couponpb/*.proto")]):
        text = path.read_text("utf-8")
        package = re.search(r"^package (\S+);", text, re.MULTILINE)[1]
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            yield from (f"{package}.{service}.{name}" for name in re.findall(r"^  rpc (\w+)\(", body, re.MULTILINE))


RPCS = list(rpcs())
WRITTEN = sorted(path.stem for path in EXAMPLES.glob("*.md") if path.name != "README.md")


class Example:
    """A file of docs/examples."""

    def __init__(self, rpc):
        self.text = (EXAMPLES / f"{rpc}.md").read_text("utf-8")
        self.needs = re.match(r"<!-- needs: (.+) -->\n", self.text)[1]
        self.blocks = re.findall(r"^```(\w+)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)

    def code(self, form):
        language, pattern = FORMS[form]
        found = [code for name, code in self.blocks
                 if name == language and re.search(pattern, code, re.MULTILINE)]
        assert len(found) == 1, f"{form}: {len(found)} blocks of {language} with {pattern!r}"
        return found[0]


# The situations that examples need: each takes a client and a campaign without coupons, and returns a code, the id of a hold, or None.
def nothing(client, campaign_id):
    return None


def coupon(client, campaign_id):
    return client.issue_coupon(campaign_id=campaign_id, recipient="ann").coupon.code


def redeemed_coupon(client, campaign_id):
    code = coupon(client, campaign_id)
    client.redeem_coupon(code=code)
    return code


def hold(client, campaign_id):
    return client.hold_coupon(campaign_id=campaign_id, recipient="ann", ttl=timedelta(minutes=10)).hold.hold_id


def paused_campaign(client, campaign_id):
    client.pause_campaign(campaign_id=campaign_id)


def ended_campaign(client, campaign_id):
    client.end_campaign(campaign_id=campaign_id)


def archived_campaign(client, campaign_id):
    ended_campaign(client, campaign_id)
    client.archive_campaign(campaign_id=campaign_id)


SITUATIONS = {
    "campaign": nothing,
    "campaign for imported codes": nothing,
    "coupon": coupon,
    "redeemed coupon": redeemed_coupon,
    "hold": hold,
    "paused campaign": paused_campaign,
    "ended campaign": ended_campaign,
    "archived campaign": archived_campaign,
}


@pytest.fixture(scope="module")
def client(sdk, address, channel):
    with sdk.Client(address) as client:
        yield client


@pytest.fixture
def prepared(client, address, sdk):
    """Makes the situation of an example, and puts its names into code."""
    def prepare(example, code):
        campaign_id, number, held = f"example-{uuid.uuid4()}", "0", None
        if example.needs != "nothing":
            source = sdk.v1.CODE_SOURCE_IMPORTED if "imported codes" in example.needs else 0
            campaign = client.create_campaign(campaign_id=campaign_id, quota=100, code_source=source).campaign
            number, held = str(campaign.numeric_id), SITUATIONS[example.needs](client, campaign_id)
        code = code.replace(ADDRESS, address).replace(NUMBER, number)
        code = re.sub(rf"\b{CAMPAIGN}\b", campaign_id, code)
        return re.sub(rf"\b({CODE}|{HOLD})\b", held, code) if held else code
    return prepare


@pytest.fixture(scope="session")
def tools(tmp_path_factory):
    """A PATH with grpcurl; where it is not installed, buf curl makes the same calls by the same arguments."""
    path = os.environ["PATH"]
    if shutil.which("grpcurl"):
        return path
    buf = Path(pytest.importorskip("buf_bin").__file__).parent.parent / "bin" / "buf"
    directory = tmp_path_factory.mktemp("tools")
    script = directory / "grpcurl"
    script.write_text(f"""#!/bin/sh
[ "$1 $2" = "-plaintext -d" ] && [ $# = 5 ] || {{ echo "arguments that examples do not use: $*" >&2; exit 2; }}
exec '{buf}' curl --protocol grpc --http2-prior-knowledge --data "$3" "http://$4/$5"
""")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"{directory}:{path}"


def run(command, **environment):
    done = subprocess.run(command, capture_output=True, timeout=SECONDS, env={**os.environ, **environment})
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{command[-1]}\n{output}{done.stderr.decode(errors='replace')}"
    return output


def test_every_rpc_has_an_example_and_every_example_an_rpc():
    assert WRITTEN == sorted(RPCS), "docs/examples (left) and the definitions (right) differ"


@pytest.mark.parametrize("rpc", WRITTEN)
def test_an_example_shows_its_call_in_every_form(rpc):
    example = Example(rpc)
    service, _, method = rpc.rpartition(".")
    assert f"# {method}\n" in example.text
    for form in FORMS:
        # Python's methods have other names.
        assert form == "python" or f"{service}/{method}" in example.code(form)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("rpc", WRITTEN)
def test_the_example_for_curl_works(rpc, prepared):
    example = Example(rpc)
    output = run(["bash", "-c", prepared(example, example.code("curl"))])
    if "application/connect+json" in example.code("curl"):
        assert '"error"' not in output and "{" in output, output
    else:
        assert not {"code", "message"} <= json.loads(output).keys(), output


@pytest.mark.parametrize("rpc", WRITTEN)
def test_the_example_for_grpcurl_works(rpc, prepared, tools):
    example = Example(rpc)
    output = run(["bash", "-c", prepared(example, example.code("grpcurl"))], PATH=tools)
    assert output.startswith("{"), output


@pytest.mark.parametrize("rpc", WRITTEN)
def test_the_example_for_python_works(rpc, prepared, installed):
    example = Example(rpc)
    paths = f"{installed}:{os.environ.get('PYTHONPATH', '')}"
    run([sys.executable, "-c", prepared(example, example.code("python"))], PYTHONPATH=paths)
