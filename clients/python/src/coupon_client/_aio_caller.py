"""Calls that are awaited, with their retries."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

import grpc
import grpc.aio

from ._decode import from_rpc_error
from ._method import A, Method, Q
from ._request_id import fill_in
from ._retry import CallState, RetrySchedule, RetryPolicy
from ._routers import OPTIONS, Routers, parse
from ._stream import StreamProgress
from .errors import CouponError, Incomplete, TransportError

T = TypeVar("T")


class AsyncCaller:
    """Makes calls over connections to routers."""

    def __init__(self, routers: str | Iterable[str], policy: RetryPolicy) -> None:
        targets = parse(routers)
        self._policy = policy
        self._routers: Routers[Any] = Routers([grpc.aio.insecure_channel(target, OPTIONS) for target in targets])

    async def close(self) -> None:
        """Closes the connections. Calls under way are cancelled."""
        for channel in self._routers.connections:
            await channel.close()

    async def _call(self, method: Method[Q, A], request: Q, timeout: float | None) -> A:
        state = CallState(fill_in(request))
        schedule = RetrySchedule(self._policy, timeout, time.monotonic())
        while True:
            answer = await self._attempt(method, request, schedule.timeout(time.monotonic()))
            if not isinstance(answer, CouponError):
                return answer
            await self._pause(state, schedule, answer)

    async def _pages(
        self, method: Method[Q, A], request: Any, timeout: float | None, items: Callable[[A], Iterable[T]],
    ) -> AsyncIterator[T]:
        unreachable: list[str] = []
        while True:
            page: Any = await self._call(method, request, timeout)
            for item in items(page):
                yield item
            unreachable += page.unreachable
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        if unreachable:
            raise Incomplete(unreachable)

    async def _stream(
        self, method: Method[Q, A], request: Q, timeout: float | None, items: Callable[[A], Iterable[T]],
    ) -> AsyncIterator[T]:
        progress = StreamProgress(method, request, timeout, time.monotonic())
        state, schedule = CallState(""), progress.schedule(self._policy, time.monotonic())
        while True:
            number = self._routers.next(time.monotonic())
            stub = self._routers.connections[number].unary_stream(
                method.path, method.request.SerializeToString, method.response.FromString)
            parts = stub(request, timeout=progress.left(time.monotonic()))
            try:
                async for part in parts:
                    self._routers.answered(number)
                    for item in items(part):
                        yield item
                    progress.took(part)
                    # Each part has the time of a call.
                    state, schedule = CallState(""), progress.schedule(self._policy, time.monotonic())
                error = progress.ended()
                if error is None:
                    return
            except grpc.aio.AioRpcError as rpc_error:
                error = self._noted(number, from_rpc_error(rpc_error))
            finally:
                # Of a stream that is not read to its end.
                parts.cancel()
            if not progress.can_go_on:
                # What was read cannot be joined to a later state.
                raise error from None
            await self._pause(state, schedule, error)

    async def _attempt(self, method: Method[Q, A], request: Q, timeout: float) -> A | CouponError:
        number = self._routers.next(time.monotonic())
        stub = self._routers.connections[number].unary_unary(
            method.path, method.request.SerializeToString, method.response.FromString)
        try:
            answer: A = await stub(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return self._noted(number, from_rpc_error(error))
        self._routers.answered(number)
        return answer

    def _noted(self, number: int, error: CouponError) -> CouponError:
        if isinstance(error, TransportError) and error.meaning.is_retryable:
            self._routers.gave_no_answer(number, time.monotonic())
        return error

    @staticmethod
    async def _pause(state: CallState, schedule: RetrySchedule, error: CouponError) -> None:
        """Waits before the next attempt. Raises the error of the call if there is none."""
        final = state.failed(error)
        if final is not None:
            raise final from None
        pause = schedule.pause(error.retry_after, random.random(), time.monotonic())
        if pause is None:
            raise state.given_up(error) from None
        await asyncio.sleep(pause)
