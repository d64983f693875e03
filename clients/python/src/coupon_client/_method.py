"""What a call needs to know of an RPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


@dataclass(frozen=True)
class Method(Generic[Q, A]):
    """An RPC: its path and its messages."""

    path: str
    request: type[Q]
    response: type[A]
