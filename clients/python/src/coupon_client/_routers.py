"""Routers in turn. Pure: time is passed in."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

C = TypeVar("C")

# Time for which a router that gave no answer is left out while there are others, in seconds.
_REST = 5.0

# Options of a connection.
OPTIONS: list[tuple[str, Any]] = [
    # A name with several addresses is a name of several routers.
    ("grpc.lb_policy_name", "round_robin"),
    # Repeating is the business of this package, which knows what is safe.
    ("grpc.enable_retries", 0),
    # The answer to a batch is larger than gRPC's 4 MiB.
    ("grpc.max_receive_message_length", 32 << 20),
    # Pings while calls are under way find a router that is gone without a word. Proxies accept pings this rare.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Time to set up a connection, so that a machine that is gone does not take a whole attempt.
    ("grpc.min_reconnect_backoff_ms", 3_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


def parse(addresses: str | Iterable[str]) -> list[str]:
    """The addresses as gRPC's targets."""
    listed = [addresses] if isinstance(addresses, str) else list(addresses)
    if not listed:
        raise ValueError("no router is named: name at least one")
    targets = []
    for address in listed:
        target = address[len("http://"):] if address.startswith("http://") else address
        host, _, port = target.rstrip("/").rpartition(":")
        if not host or "/" in host or not port.isdecimal():
            raise ValueError(f"{address!r} is not an address: it must be host:port or http://host:port")
        targets.append(f"{host}:{port}")
    return targets


class Routers(Generic[C]):
    """Connections to routers, used in turn: each call begins with the next one, and so does each retry."""

    def __init__(self, connections: list[C]) -> None:
        # Clients begin with different routers, so that these share the load.
        self.connections = random.sample(connections, len(connections))
        self._resting_until = [0.0] * len(connections)
        self._turn = 0

    def next(self, now: float) -> int:
        """The number of the router whose turn it is. One that gave no answer lately comes last."""
        count = len(self.connections)
        order = [(self._turn + step) % count for step in range(count)]
        chosen = next((number for number in order if self._resting_until[number] <= now), order[0])
        self._turn = (chosen + 1) % count
        return chosen

    def gave_no_answer(self, number: int, now: float) -> None:
        """Notes that a router is gone, or cannot be reached."""
        self._resting_until[number] = now + _REST

    def answered(self, number: int) -> None:
        """Notes that a router is there."""
        self._resting_until[number] = 0.0
