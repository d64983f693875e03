"""Many issues over one stream after another: what is open, and what is asked again. Pure: time is passed in."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import grpc

from . import _fields, v1
from ._batch import BatchResult
from ._decode import error_from_status, missing_result
from ._method import Method
from ._request_id import fill_in
from ._retry import CallState, RetrySchedule, RetryPolicy
from .errors import CouponError, TransportError

METHOD = Method("/coupon.v1.CouponService/IssueStream", v1.IssueStreamRequest, v1.IssueStreamResponse)

# A router takes at most 1,024 requests before it answers some.
IN_FLIGHT_MAX = 1_000

# A request with its request id, and what it was answered.
Issued = tuple[v1.IssueCouponRequest, BatchResult]


class _Item:
    def __init__(self, request: v1.IssueCouponRequest, policy: RetryPolicy, now: float) -> None:
        # A copy: the caller's message is left as it is.
        self.request = v1.IssueCouponRequest()
        self.request.CopyFrom(request)
        self.state = CallState(fill_in(self.request))
        self.schedule = RetrySchedule(policy, None, now)
        # When it is to be sent; None while it waits for its answer.
        self.due: float | None = now


class IssueWindow:
    """The requests that have no final answer yet."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._items: dict[int, _Item] = {}
        self._last_tag = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, request: v1.IssueCouponRequest, now: float) -> None:
        """Takes a request, which is due at once."""
        self._last_tag += 1
        self._items[self._last_tag] = _Item(request, self._policy, now)

    def due(self, now: float) -> Iterator[v1.IssueStreamRequest]:
        """The messages that are to be sent now. Each is waited for then."""
        for tag, item in self._items.items():
            if item.due is not None and item.due <= now:
                item.due = None
                timeout = _fields.duration(timedelta(seconds=item.schedule.timeout(now)))
                yield v1.IssueStreamRequest(tag=tag, request=item.request, timeout=timeout)

    def pause(self, now: float) -> float | None:
        """The time until a message is due, in seconds; None if none is to be sent."""
        due = min((item.due for item in self._items.values() if item.due is not None), default=None)
        return None if due is None else max(due - now, 0.0)

    def answered(self, response: v1.IssueStreamResponse, now: float) -> list[Issued]:
        """Takes an answer. Returns the request that it ends, if it does."""
        item = self._items.get(response.tag)
        if item is None:
            return []
        result = response.WhichOneof("result")
        if result == "response":
            del self._items[response.tag]
            return [(item.request, response.response)]
        return self._failed(response.tag, error_from_status(response.error) if result else missing_result(), now)

    def broken(self, error: CouponError | None, now: float) -> list[Issued]:
        """Takes the end of a stream. Returns the requests that it ends."""
        error = error or TransportError(grpc.StatusCode.UNAVAILABLE, "the stream ended before the answer")
        waiting = [tag for tag, item in self._items.items() if item.due is None]
        return [issued for tag in waiting for issued in self._failed(tag, error.copy(), now)]

    def _failed(self, tag: int, error: CouponError, now: float) -> list[Issued]:
        item = self._items[tag]
        final = item.state.failed(error)
        if final is None:
            pause = item.schedule.pause(error.retry_after, random.random(), now)
            if pause is not None:
                item.due = now + pause
                return []
            final = item.state.given_up(error)
        del self._items[tag]
        return [(item.request, final)]
