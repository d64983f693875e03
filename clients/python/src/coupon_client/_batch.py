"""Batches: requests that were answered for good are not sent again with the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

from . import v1
from ._decode import error_from_status, missing_result
from ._request_id import fill_in
from ._retry import CallState
from .errors import CouponError

# What one request of a batch was answered.
BatchResult = Union[v1.IssueCouponResponse, CouponError]


class _Item:
    def __init__(self, request: v1.IssueCouponRequest) -> None:
        # A copy: the caller's message is left as it is.
        self.request = v1.IssueCouponRequest()
        self.request.CopyFrom(request)
        self.state = CallState(fill_in(self.request))
        self.last: CouponError | None = None
        self.result: BatchResult | None = None


class Batch:
    """A batch under way."""

    def __init__(self, requests: Iterable[v1.IssueCouponRequest]) -> None:
        self._items = [_Item(request) for request in requests]
        self._open = list(self._items)

    @property
    def is_done(self) -> bool:
        """Whether every request was answered for good."""
        return not self._open

    def request(self) -> v1.BatchIssueCouponsRequest:
        """The requests that have no final answer yet."""
        return v1.BatchIssueCouponsRequest(requests=[item.request for item in self._open])

    def answered(self, response: v1.BatchIssueCouponsResponse) -> None:
        """Takes the answer of an attempt."""
        results = list(response.results)
        for place, item in enumerate(self._open):
            result = results[place] if place < len(results) else v1.BatchIssueCouponsResult()
            answer = result.WhichOneof("result")
            if answer == "response":
                item.result = result.response
            else:
                self._failed(item, error_from_status(result.error) if answer else missing_result())
        self._keep_open()

    def failed(self, error: CouponError) -> None:
        """Takes the error of an attempt, which is that of every request in it."""
        for item in self._open:
            self._failed(item, error.copy())
        self._keep_open()

    def retry_after(self) -> float | None:
        """What the server asks for at least before the next attempt."""
        asked = [item.last.retry_after for item in self._open if item.last]
        return max((delay for delay in asked if delay is not None), default=None)

    def give_up(self) -> None:
        """Ends the requests that are still open."""
        for item in self._open:
            item.result = item.state.given_up(item.last or missing_result())
        self._open = []

    def results(self) -> list[BatchResult]:
        """One result for each request, in their order."""
        return [item.result or missing_result() for item in self._items]

    def _failed(self, item: _Item, error: CouponError) -> None:
        item.last = error
        item.result = item.state.failed(error)

    def _keep_open(self) -> None:
        self._open = [item for item in self._open if item.result is None]
