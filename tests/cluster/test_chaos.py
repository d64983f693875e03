"""Every script in chaos/ does what it says to a cluster in containers, and the cluster gets over it."""

import os
import uuid

import pytest
from conftest import until

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="not root, so cutting the network of containers was not tested")


@pytest.fixture
def serves(cluster, campaigns):
    """Issues one coupon of every campaign through a router."""

    def issue_all(router=2):
        for campaign in campaigns:
            recipient = uuid.uuid4().hex[:12]
            coupon = cluster.issue(campaign, recipient, router=router)
            assert coupon["recipient"] == recipient

    return issue_all


def test_what_one_router_created_the_other_one_issues(serves):
    serves(router=2)
    serves(router=1)


def test_containers_may_do_no_more_than_they_must(cluster):
    for member in ["node-1", "router-1"]:
        found = cluster.inspect(member)
        assert found["Config"]["User"] == "65532:65532"
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        for bindings in (host["PortBindings"] or {}).values():
            assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}


def test_a_killed_leader_stays_dead_and_another_one_leads(cluster, serves):
    fault = cluster.chaos("kill", "leader", "1")
    assert fault["shard"] == "1"
    assert cluster.state(fault["target"]) == "exited"
    until(lambda: cluster.leader(1) not in (None, fault["target"]), "another leader of shard 1")
    serves()
    healed = cluster.chaos("heal")
    assert healed["target"] == fault["target"]
    assert cluster.state(fault["target"]) == "running"


def test_what_was_issued_survives_the_death_of_all(cluster, campaigns, serves):
    coupon = cluster.issue(campaigns[0], "survivor")
    fault = cluster.chaos("kill", "-q", "all")
    assert len(fault["target"].split(",")) == 7
    assert {cluster.state(member) for member in fault["target"].split(",")} == {"exited"}
    cluster.chaos("heal")
    refused = cluster.coupon("issue", campaigns[0], "--recipient", "survivor", check=False)
    assert coupon["code"] in refused.stderr
    serves()


def test_a_paused_leader_is_replaced(cluster, serves):
    fault = cluster.chaos("pause", "leader", "1")
    assert cluster.state(fault["target"]) == "paused"
    until(lambda: cluster.leader(1) not in (None, fault["target"]), "another leader of shard 1")
    serves()


def test_a_pause_may_end_by_itself(cluster):
    fault = cluster.chaos("pause", "-q", "router", "1", "0.5")
    assert int(fault["until"]) - int(fault["at"]) >= 0.5e9
    assert cluster.state("router-1") == "running"


def test_a_stop_hands_over_and_ends_well(cluster, serves):
    fault = cluster.chaos("stop", "leader", "1")
    assert fault["exit"] == "0"
    assert cluster.state(fault["target"]) == "exited"
    serves()


def test_a_restart_ends_when_the_member_serves(cluster, serves):
    fault = cluster.chaos("restart", "leader", "1")
    assert cluster.state(fault["target"]) == "running"
    serves()


@needs_root
def test_an_isolated_leader_is_replaced(cluster, serves):
    fault = cluster.chaos("partition", "isolate", "leader", "1")
    assert int(fault["dropped"]) > 0
    others = [f"node-{i}" for i in range(1, 6) if f"node-{i}" != fault["target"]]
    until(lambda: cluster.leader(1, *others) not in (None, fault["target"]), "another leader of shard 1")
    serves()
    # Started anew, it is cut off still.
    cluster.chaos("restart", "-q", fault["target"])
    assert f"cut off from {others[0]}" in cluster.script("status")
    reachable = {node["node_id"] for node in cluster.status(*others)["nodes"] if node["reachable"]}
    assert reachable == {int(other.removeprefix("node-")) for other in others}


@needs_root
@pytest.mark.parametrize("shape", [
    "in node 1", "out node 1", "split node 1 node 2", "bridge 3", "ring"])
def test_every_shape_is_in_force_until_healed(cluster, serves, shape):
    fault = cluster.chaos("partition", "-q", *shape.split())
    assert int(fault["dropped"]) > 0
    if shape in ("in node 1", "out node 1"):
        serves()
    cluster.chaos("heal", "-q")
    assert "cut off" not in cluster.settled()
    serves()


@needs_root
def test_a_router_cut_off_from_a_leader_goes_through_another_node(cluster, serves):
    fault = cluster.chaos("partition", "-q", "router", "1", "leader", "1")
    # Its calls have ten seconds.
    serves(router=1)
    assert cluster.leader(1) in fault["target"].split(",")
    cluster.chaos("heal", "-q")
    assert "cut off" not in cluster.script("status")
    serves(router=1)


@needs_root
def test_who_was_dead_is_cut_off_once_it_is_back(cluster):
    cluster.chaos("kill", "-q", "node", "5")
    cluster.chaos("partition", "-q", "isolate", "node", "1")
    cluster.chaos("restart", "-q", "node", "5")
    reachable = [node["node_id"] for node in cluster.status("node-5")["nodes"] if node["reachable"]]
    assert reachable == [2, 3, 4, 5]


@needs_root
def test_packets_are_lost_until_healed(cluster, serves):
    fault = cluster.chaos("loss", "10", "node", "3")
    assert int(fault["dropped"]) > 0
    serves()
    cluster.chaos("restart", "-q", "node", "3")
    assert "loses 10 %" in cluster.script("status")
    cluster.chaos("loss", "-q", "0", "node", "3")
    assert "loses" not in cluster.script("status")


@needs_root
def test_a_fault_counts_what_it_drops_itself(cluster):
    assert int(cluster.chaos("partition", "-q", "isolate", "node", "1")["dropped"]) > 0
    assert int(cluster.chaos("loss", "-q", "10", "node", "2")["dropped"]) > 0
    # A new figure begins anew.
    assert int(cluster.chaos("loss", "-q", "5", "node", "2")["dropped"]) > 0
    assert cluster.chaos("loss", "-q", "0", "node", "2")["dropped"] == "0"


@pytest.mark.parametrize("command", [
    "kill", "kill somebody", "kill node", "kill node 9", "kill leader 99", "pause node 1 soon",
    "stop node 1 node 2", "partition", "partition triangle", "partition router 1 router 1", "loss 101 node 1", "loss node 1",
    "heal everything"])
def test_mistakes_are_told(whole_cluster, command):
    if command.split()[0] in ("partition", "loss") and os.geteuid() != 0:
        pytest.skip("not root, so cutting the network of containers was not tested")
    assert "-h" in whole_cluster.script(*command.split(), status=2)


@pytest.mark.parametrize("script", [
    "kill", "pause", "stop", "restart", "partition", "loss", "heal", "status"])
def test_every_script_explains_itself(whole_cluster, script):
    assert whole_cluster.script(script, "-h").startswith(f"Usage: chaos/{script}")
