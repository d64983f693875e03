"""How far a stream was read, and whether another one can go on where it broke. Pure: the time is passed in."""

from __future__ import annotations

from typing import Any

import grpc

from ._method import A, Method, Q
from ._retry import RetrySchedule, RetryPolicy
from .errors import CouponError, TransportError


class StreamProgress:
    """A stream under way.

    A stream whose parts have a `resume_token` goes on after the last part; that of the last part of all is empty.
    Others begin again as long as nothing was read.
    """

    def __init__(self, method: Method[Q, A], request: Any, timeout: float | None, now: float) -> None:
        self._request = request
        self._end = None if timeout is None else now + timeout
        self._is_resumable = "resume_token" in method.request.DESCRIPTOR.fields_by_name
        self._has_begun = False

    def left(self, now: float) -> float | None:
        """The time left, in seconds; None: as long as it takes."""
        return None if self._end is None else max(self._end - now, 0.0)

    def schedule(self, policy: RetryPolicy, now: float) -> RetrySchedule:
        """When the attempts to read the next part are made."""
        return RetrySchedule(policy, self.left(now), now)

    def took(self, part: Any) -> None:
        """Notes that a part was read."""
        self._has_begun = True
        if self._is_resumable:
            self._request.resume_token = part.resume_token

    def ended(self) -> CouponError | None:
        """What is wrong with a stream that has ended without an error."""
        if self._is_resumable and (self._request.resume_token or not self._has_begun):
            return TransportError(grpc.StatusCode.UNAVAILABLE, "the stream ended early")
        return None

    @property
    def can_go_on(self) -> bool:
        """Whether another stream brings what is missing."""
        return not self._has_begun or (self._is_resumable and bool(self._request.resume_token))
