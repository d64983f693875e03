"""A running cluster, and a client of it made from the protos."""

import importlib
import re
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import grpc
import grpc_tools
import pytest
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent.parent

# How long a cluster may take from its start until its router says where it listens, in seconds.
START_SECONDS_MAX = 60
# How long it may take to stop after Ctrl-C, in seconds.
STOP_SECONDS_MAX = 30

Api = namedtuple("Api", "campaigns coupons campaign_pb coupon_pb")


def pytest_addoption(parser):
    parser.addoption("--program", required=True, help="the compiled coupon program")


class Demo:
    """`coupon demo` on ports of its own choice."""

    def __init__(self, program, data):
        self._process = subprocess.Popen(
            [program, "demo", "--listen", "127.0.0.1:0", "--data", data],
            encoding="utf-8", errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._output = []
        self._address = None
        self._known = threading.Event()
        # Read on for ever: a program whose pipe is full stands still.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._output.append(line)
            found = re.fullmatch(r"router (127\.0\.0\.1:\d+)\n", line)
            if found and self._address is None:
                self._address = found[1]
                self._known.set()
        # The end of the output is the end of the program; nobody should wait any longer.
        self._known.set()

    def address(self):
        self._known.wait(START_SECONDS_MAX)
        assert self._address, f"the demo said no address:\n{self.output()}"
        return self._address

    def node_address(self):
        """Where its first node listens."""
        self.address()
        return re.search(r"^ *1 +(127\.0\.0\.1:\d+) ", self.output(), re.MULTILINE)[1]

    def output(self):
        return "".join(self._output)

    def stop(self):
        """Ctrl-C; returns the exit status."""
        self._process.send_signal(2)
        try:
            status = self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._reader.join()
        return status


@pytest.fixture(scope="session")
def demo(request, tmp_path_factory):
    """A running cluster."""
    demo = Demo(request.config.getoption("--program"), tmp_path_factory.mktemp("demo"))
    try:
        demo.address()
        yield demo
    finally:
        status = demo.stop()
    assert status == 0, f"the demo ended with {status}:\n{demo.output()}"


@pytest.fixture(scope="session")
def address(demo):
    """Where its router listens."""
    return demo.address()


@pytest.fixture(scope="session")
def node_address(demo):
    """Where one of its nodes listens."""
    return demo.node_address()


@pytest.fixture(scope="session")
def channel(address):
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(START_SECONDS_MAX)
        yield channel


@pytest.fixture(scope="session")
def modules(tmp_path_factory):
    """The Python code that a user would generate: only of the public definitions."""
    generated = tmp_path_factory.mktemp("generated")
    definitions = ROOT / "proto" / "proto"
    includes = [definitions, ROOT / "proto" / "third_party",
                Path(grpc_tools.__file__).parent / "_proto"]
    modules = {"campaign_service": "coupon.v1.campaign_service",
               "coupon_service": "coupon.v1.coupon_service",
               "event_service": "coupon.v1.event_service",
               "older": "couponpb.coupon_service"}
    status = protoc.main([
        "protoc", *(f"-I{include}" for include in includes),
        f"--python_out={generated}", f"--grpc_python_out={generated}",
        *(str(definitions / f"{module.replace('.', '/')}.proto") for module in modules.values())])
    assert status == 0, "the definitions do not compile"
    sys.path.insert(0, str(generated))
    return {f"{name}_{suffix}": importlib.import_module(f"{module}_{suffix}")
            for name, module in modules.items() for suffix in ("pb2", "pb2_grpc")}


@pytest.fixture(scope="session")
def api(modules, channel):
    return Api(
        campaigns=modules["campaign_service_pb2_grpc"].CampaignServiceStub(channel),
        coupons=modules["coupon_service_pb2_grpc"].CouponServiceStub(channel),
        campaign_pb=modules["campaign_service_pb2"],
        coupon_pb=modules["coupon_service_pb2"])
