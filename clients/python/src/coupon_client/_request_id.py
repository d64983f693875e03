"""The id that makes repeating a request safe."""

from __future__ import annotations

import uuid
from typing import Any


def new_request_id() -> str:
    """A new request id: a random UUID."""
    return str(uuid.uuid4())


def fill_in(request: Any) -> str:
    """Gives a request an id if it has none, before its first attempt.

    Returns the id; empty for a request that only reads, which has no place for one.
    """
    if "request_id" not in request.DESCRIPTOR.fields_by_name:
        return ""
    if not request.request_id:
        request.request_id = new_request_id()
    return str(request.request_id)
