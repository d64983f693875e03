"""Consumers of events, and a cluster of processes whose leader is killed."""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent.parent
EXAMPLE = ROOT / "clients" / "python" / "examples" / "follow_events.py"

# How long anything may take that takes a second or two on an idle machine, in seconds.
PATIENCE = 60


def until(what, look):
    """Looks until there is something to return."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.025)
    raise AssertionError(f"waited {PATIENCE} s for {what}")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Cluster:
    """Three nodes of one shard and a router, each a process of its own."""

    def __init__(self, program, directory):
        self._program, self._directory = program, directory
        self._addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        self._nodes = {}
        for node_id in (1, 2, 3):
            self.start(node_id)
        self.run("cluster", "init", "--nodes", self.nodes, "--shards", "1")
        command = [program, "router", "--listen", "127.0.0.1:0", "--nodes", self.nodes]
        self._router = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
        self.address = re.search(r"listens on (\S+)", self._router.stdout.readline())[1]

    @property
    def nodes(self):
        return ",".join(self._addresses)

    def start(self, node_id):
        log = open(self._directory / f"node-{node_id}.log", "a")
        self._nodes[node_id] = subprocess.Popen(
            [self._program, "node", "--node-id", str(node_id), "--data", self._directory / f"node-{node_id}",
             "--listen", self._addresses[node_id - 1], "--join", self.nodes, "--max-clock-offset", "5s"],
            stdout=subprocess.DEVNULL, stderr=log)
        log.close()

    def run(self, *arguments):
        return subprocess.run([self._program, *arguments], check=True, capture_output=True, encoding="utf-8").stdout

    def leader(self):
        """The node that leads the shard."""
        def look():
            asked = subprocess.run([self._program, "status", "--node", self.nodes, "-o", "json"],
                                   capture_output=True, encoding="utf-8")
            shards = json.loads(asked.stdout or "{}").get("shards", [])
            return next((shard.get("leader_node_id") for shard in shards if shard["shard_id"] == 1), None)
        return until("a leader", look)

    def kill(self, node_id):
        process = self._nodes.pop(node_id)
        process.kill()
        process.wait()

    def stop(self):
        for process in [self._router, *self._nodes.values()]:
            process.kill()
            process.wait()
        self._router.stdout.close()


@pytest.fixture(scope="module")
def cluster(request, tmp_path_factory):
    cluster = Cluster(request.config.getoption("--program"), tmp_path_factory.mktemp("nodes"))
    try:
        yield cluster
    finally:
        cluster.stop()


def test_the_example_misses_no_event_when_leaders_and_it_are_killed(sdk, installed, cluster, tmp_path):
    def consumer(*arguments):
        command = [sys.executable, EXAMPLE, "spring", "--router", cluster.address,
                   "--database", tmp_path / "events.sqlite", "--position", tmp_path / "position.json", *arguments]
        path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})

    def processed():
        try:
            kept = json.loads((tmp_path / "position.json").read_text())
        except FileNotFoundError:
            return 0
        return kept["revision"]

    with sdk.Client(cluster.address) as client:
        client.create_campaign(campaign_id="spring", quota=1_000)
        following = consumer()
        expected = ["CAMPAIGN_CREATED"]

        def work(count):
            for _ in range(count):
                coupon = client.issue_coupon(campaign_id="spring").coupon
                client.redeem_coupon(code=coupon.code)
                expected.extend(["COUPON_ISSUED", "COUPON_REDEEMED"])

        try:
            work(20)
            until("the first events", lambda: processed() > 0)
            leader = cluster.leader()
            cluster.kill(leader)
            work(20)
            cluster.start(leader)
            # Killed in the middle of it, it goes on from where its file says.
            until("events of the new leader", lambda: processed() > 45)
            following.send_signal(signal.SIGKILL)
            following.wait()
            client.pause_campaign(campaign_id="spring")
            expected.append("CAMPAIGN_PAUSED")
            client.resume_campaign(campaign_id="spring")
            expected.append("CAMPAIGN_RESUMED")
            following = consumer("--until", str(len(expected) + 40))
            second = cluster.leader()
            work(10)
            cluster.kill(second)
            work(10)
            cluster.start(second)
            assert following.wait(PATIENCE) == 0
        finally:
            following.kill()
            following.wait()
        shown = client.get_campaign(campaign_id="spring").campaign
    assert shown.revision == len(expected)
    with sqlite3.connect(tmp_path / "events.sqlite") as database:
        rows = database.execute("SELECT revision, type FROM events ORDER BY revision").fetchall()
    database.close()
    assert rows == [(number, f"EVENT_TYPE_{kind}") for number, kind in enumerate(expected, 1)]


def test_events_are_listed_and_streamed_alike(sdk, cluster):
    async def streamed(campaign_id, last):
        async with sdk.AsyncClient(cluster.address) as client:
            seen = []
            async for event in client.stream_events(campaign_id=campaign_id):
                seen.append(event)
                if event.revision == last:
                    return seen

    with sdk.Client(cluster.address) as client:
        client.create_campaign(campaign_id="summer", quota=5)
        coupon = client.issue_coupon(campaign_id="summer", recipient="ann").coupon
        client.void_coupon(code=coupon.code, reason="a test")
        listed = client.list_events(campaign_id="summer")
        assert listed.revision == 3
        events = list(listed.events)
        assert [event.type for event in events] == [
            sdk.v1.EVENT_TYPE_CAMPAIGN_CREATED, sdk.v1.EVENT_TYPE_COUPON_ISSUED, sdk.v1.EVENT_TYPE_COUPON_VOIDED]
        assert events[1].coupon == coupon
        assert events[2].coupon.void_reason == "a test"
        assert list(client.list_events(campaign_id="summer", after_revision=1, page_size=1).events) == events[1:2]
        stream = client.stream_events(campaign_id="summer", after_revision=1)
        assert [next(stream) for _ in range(2)] == events[1:]
        stream.close()
    assert asyncio.run(streamed("summer", 3)) == events
