"""A cluster in containers, under a name of its own."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

# How long any one command may take, in seconds: the longest starts seven containers.
COMMAND_SECONDS_MAX = 150
# A cluster whose faults are mended has leaders for all shards by then.
CONVERGENCE_SECONDS_MAX = 5
# How long what must come true may take, in seconds.
PATIENCE_SECONDS = 30

SUMMARY = re.compile(r"fault( [a-z]+=[^ ]+)+")


def pytest_addoption(parser):
    parser.addoption("--program", required=True, help="the compiled coupon program")


def run(command, env, check=True):
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, env=env, encoding="utf-8", errors="replace",
        stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS_MAX)
    if check:
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


def why_not_here():
    """Why there cannot be a cluster on this machine, or nothing."""

    def works(*command):
        return shutil.which(command[0]) and subprocess.run(command, capture_output=True).returncode == 0

    if not shutil.which("docker"):
        return "Docker is not installed"
    if not works("docker", "version"):
        return "the Docker daemon cannot be reached"
    if not works("docker", "compose", "version") and not works("docker-compose", "version"):
        return "Docker Compose is not installed"
    return None


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    def __init__(self, program, env):
        self._program = program
        self.env = env
        self.routers = [f"127.0.0.1:{env[f'CLUSTER_PORT_{i}']}" for i in (1, 2)]

    def coupon(self, *arguments, router=1, check=True):
        """The program, as a client from outside."""
        return run([self._program, *arguments, "--router", self.routers[router - 1], "-o", "json"],
                   self.env, check)

    def issue(self, campaign, recipient, router=2):
        return json.loads(self.coupon("issue", campaign, "--recipient", recipient, router=router).stdout)

    def script(self, script, *arguments, status=0):
        """A script in chaos/; returns what it said."""
        done = run([ROOT / "chaos" / script, *arguments], self.env, check=False)
        said = f"{script} {arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        # Shown when the test fails.
        print(said)
        assert done.returncode == status, said
        return done.stdout + done.stderr

    def settled(self):
        """What chaos/status says once every shard has a leader: 5 s after a fault is mended, at the latest."""
        ends = time.monotonic() + CONVERGENCE_SECONDS_MAX
        while time.monotonic() < ends:
            done = run([ROOT / "chaos" / "status"], self.env, check=False)
            if done.returncode == 0:
                break
            time.sleep(0.2)
        return self.script("status")

    def chaos(self, script, *arguments):
        """A script that does something; returns what its last line says."""
        began = time.time()
        last = self.script(script, *arguments).splitlines()[-1]
        assert SUMMARY.fullmatch(last), last
        fields = dict(word.split("=", 1) for word in last.split()[1:])
        assert fields["kind"] == script
        assert began <= int(fields["at"]) / 1e9 <= time.time()
        return fields

    def inspect(self, member):
        found = run(["docker", "ps", "--all", "--quiet",
                     "--filter", f"label=com.docker.compose.project={self.env['COMPOSE_PROJECT_NAME']}",
                     "--filter", f"label=coupon.member={member}"], self.env).stdout.split()
        (container,) = found
        (answer,) = json.loads(run(["docker", "inspect", container], self.env).stdout)
        return answer

    def state(self, member):
        return self.inspect(member)["State"]["Status"]

    def status(self, *asked):
        """What a node of `asked`, or else one that runs, knows of the cluster."""
        asked = asked or [f"node-{i}" for i in range(1, 6)]
        running = next(node for node in asked if self.state(node) == "running")
        done = run(["docker", "exec", self.inspect(running)["Id"], "/coupon", "status",
                    "--node", "127.0.0.1:7000", "--timeout", "1s", "-o", "json"], self.env, check=False)
        return json.loads(done.stdout)

    def leader(self, shard, *asked):
        (found,) = [one for one in self.status(*asked)["shards"] if one["shard_id"] == shard]
        return f"node-{found['leader_node_id']}" if found["leader_node_id"] else None


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def whole_cluster(request):
    why = why_not_here()
    if why:
        pytest.skip(f"{why}, so the cluster in containers was not tested")
    project = f"coupon-test-{uuid.uuid4().hex[:8]}"
    ports = free_ports(2)
    env = {**os.environ, "COMPOSE_PROJECT_NAME": project, "COUPON_IMAGE": f"coupon:{project}",
           "CLUSTER_PORT_1": str(ports[0]), "CLUSTER_PORT_2": str(ports[1]), "CLUSTER_SHARDS": "8"}
    program = request.config.getoption("--program")
    try:
        run([ROOT / ".ci/image", program], env)
        run([ROOT / ".ci/cluster", "up"], env)
        yield Cluster(program, env)
    finally:
        run([ROOT / ".ci/cluster", "destroy"], env, check=False)
        run(["docker", "image", "rm", "--force", env["COUPON_IMAGE"]], env, check=False)


@pytest.fixture
def cluster(whole_cluster):
    """The cluster, healed afterwards whatever was done to it."""
    yield whole_cluster
    whole_cluster.chaos("heal", "-q")


@pytest.fixture(scope="session")
def campaigns(whole_cluster):
    """Campaigns on most of the shards, created through the first router."""
    names = [f"compose-{i}" for i in range(8)]
    for name in names:
        whole_cluster.coupon("campaign", "create", name, "--quota", "1000", "--per-recipient-limit", "1")
    return names
