"""chaos/power-cut takes nodes their power, and what they had acknowledged is there afterwards."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, run


def why_no_power_cuts():
    """Why there are no disks to cut on this machine, or nothing."""
    if os.geteuid() != 0:
        return "not root"
    if subprocess.run(["losetup", "--find"], capture_output=True).returncode != 0:
        return "there is no free loop device"
    return None


def test_power_cuts_lose_nothing(request, tmp_path):
    why = why_no_power_cuts()
    if why:
        pytest.skip(f"{why}, so power cuts were not tested")
    program = Path(request.config.getoption("--program")).resolve()
    env = {**os.environ, "TMPDIR": str(tmp_path), "COUPON_PROGRAM": str(program),
           "COUPON_CHAOS": str(program.with_name("coupon-chaos"))}
    report = tmp_path / "report.json"
    # Of this seed, two cuts take all nodes their power, and one comes while they start.
    done = run([ROOT / "chaos/power-cut", "--seed", "1", "--cuts", "3", "--report", report], env, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    found = json.loads(report.read_text())
    assert found["cuts"] == 3 and found["cuts_while_starting"] > 0
    assert found["verdict"]["verdict"] == "OK" and found["verdict"]["acknowledged"] > 0
    assert list(tmp_path.iterdir()) == [report]


def test_it_explains_itself():
    done = run([ROOT / "chaos/power-cut", "-h"], dict(os.environ))
    assert done.stdout.startswith("Usage: chaos/power-cut")
