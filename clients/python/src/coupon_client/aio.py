"""The client for asyncio."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

import grpc
import grpc.aio

from . import v1
from ._batch import Batch, BatchResult
from ._decode import from_rpc_error
from ._issue_stream import IN_FLIGHT_MAX, METHOD, Issued, IssueWindow
from ._method import Method
from ._aio_operations import AsyncOperations
from ._retry import RetrySchedule, RetryPolicy
from .errors import CouponError


class AsyncClient(AsyncOperations):
    """A client for asyncio of one or several routers of a cluster. Make and use it in one event loop.

    routers: The addresses, each host:port or http://host:port. Calls go to them in turn.
    policy: How long calls are repeated.
    """

    def __init__(self, routers: str | Iterable[str], policy: RetryPolicy = RetryPolicy()) -> None:
        super().__init__(routers, policy)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def batch_issue_coupons(
        self, requests: Iterable[v1.IssueCouponRequest], *, timeout: float | None = None,
    ) -> list[BatchResult]:
        """Issues up to 1,000 coupons, each by itself. Request ids that are empty are made.

        Returns a result for each request, in the order of the requests: a response, or the error that `issue_coupon`
        would have raised.

        requests: The requests, of one or several campaigns; 2 MiB in all.
        timeout: The maximum time for the batch with its retries, in seconds. None: that of the policy.
        """
        method = Method("/coupon.v1.CouponService/BatchIssueCoupons",
                        v1.BatchIssueCouponsRequest, v1.BatchIssueCouponsResponse)
        batch = Batch(requests)
        schedule = RetrySchedule(self._policy, timeout, time.monotonic())
        while not batch.is_done:
            answer = await self._attempt(method, batch.request(), schedule.timeout(time.monotonic()))
            if isinstance(answer, CouponError):
                batch.failed(answer)
            else:
                batch.answered(answer)
            if batch.is_done:
                break
            pause = schedule.pause(batch.retry_after(), random.random(), time.monotonic())
            if pause is None:
                batch.give_up()
            else:
                await asyncio.sleep(pause)
        return batch.results()

    async def issue_stream(
        self, requests: Iterable[v1.IssueCouponRequest] | AsyncIterable[v1.IssueCouponRequest], *,
        in_flight: int = 256,
    ) -> AsyncIterator[Issued]:
        """Issues a coupon for each request over a stream, and yields the answers in the order in which they come: pairs
        of the request, with its request id, and a response, or the error that `issue_coupon` would have raised.

        When a stream breaks, what has no answer is asked again over another one, with the same request ids.

        requests: The requests, of one or several campaigns. They are taken as there is room for them, and each is sent
            at once.
        in_flight: How many are taken before some are answered, at most 1,000.
        """
        source, window = iterated(requests), IssueWindow(self._policy)
        in_flight, has_more = min(in_flight, IN_FLIGHT_MAX), True
        # The next request, while it is waited for.
        taking: asyncio.Task[v1.IssueCouponRequest | None] | None = None
        try:
            while True:
                # A stream is opened when there is something to send.
                if has_more and not window:
                    request = await (taking or anext_or_none(source))
                    taking, has_more = None, request is not None
                    if request is not None:
                        window.add(request, time.monotonic())
                if not window:
                    return
                await asyncio.sleep(window.pause(time.monotonic()) or 0.0)
                number = self._routers.next(time.monotonic())
                stub = self._routers.connections[number].stream_stream(
                    METHOD.path, METHOD.request.SerializeToString, METHOD.response.FromString)
                call = stub()
                reading = asyncio.ensure_future(call.read())
                error: CouponError | None = None
                try:
                    while has_more or window:
                        for message in window.due(time.monotonic()):
                            await call.write(message)
                        if taking is None and has_more and len(window) < in_flight:
                            taking = asyncio.ensure_future(anext_or_none(source))
                        await asyncio.wait(
                            {reading} if taking is None else {reading, taking},
                            timeout=window.pause(time.monotonic()), return_when=asyncio.FIRST_COMPLETED)
                        if taking is not None and taking.done():
                            request = taking.result()
                            taking, has_more = None, request is not None
                            if request is not None:
                                window.add(request, time.monotonic())
                        if reading.done():
                            answer = reading.result()
                            if answer is grpc.aio.EOF:
                                break
                            reading = asyncio.ensure_future(call.read())
                            self._routers.answered(number)
                            for issued in window.answered(answer, time.monotonic()):
                                yield issued
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as rpc_error:
                    error = await self._stream_error(number, reading, rpc_error)
                finally:
                    reading.cancel()
                    call.cancel()
                for issued in window.broken(error, time.monotonic()):
                    yield issued
        finally:
            if taking is not None:
                taking.cancel()

    async def _stream_error(
        self, number: int, reading: asyncio.Future[Any], error: Exception,
    ) -> CouponError | None:
        """Why a stream has ended: a message that cannot be written does not say."""
        if not isinstance(error, grpc.aio.AioRpcError):
            try:
                await reading
                return None
            except grpc.aio.AioRpcError as rpc_error:
                error = rpc_error
        return self._noted(number, from_rpc_error(error))


async def iterated(
    requests: Iterable[v1.IssueCouponRequest] | AsyncIterable[v1.IssueCouponRequest],
) -> AsyncIterator[v1.IssueCouponRequest]:
    """The requests of an iterable of either kind."""
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


async def anext_or_none(source: AsyncIterator[v1.IssueCouponRequest]) -> v1.IssueCouponRequest | None:
    """The next request; None at the end."""
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        return None
