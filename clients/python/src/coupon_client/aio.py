"""The client for asyncio."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, TypeVar

import grpc
import grpc.aio

from . import v1
from ._batch import Batch, BatchResult
from ._decode import from_rpc_error
from ._import import METHOD as IMPORT, ImportProgress, ImportResult, ended
from ._issue_stream import IN_FLIGHT_MAX, METHOD, Issued, IssueWindow
from ._method import Method
from ._aio_operations import AsyncOperations
from ._retry import RetrySchedule, RetryPolicy
from .errors import CouponError

T = TypeVar("T")


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

    async def import_codes(
        self, *, campaign_id: str, codes: Iterable[str] | AsyncIterable[str], import_id: str = "",
    ) -> ImportResult:
        """Imports codes made elsewhere into a campaign whose `code_source` is IMPORTED: its n-th coupon gets the
        n-th code.

        Codes that the campaign has already, and those that are none, are refused one by one; all others are added. They are
        sent 1,000 at a time, and again where there is no answer; each time may take as long as a call of the policy.

        campaign_id: The campaign.
        codes: The codes, 4 to 64 printable ASCII characters each, without spaces, commas and quotes; those of a text
            file, for instance, with one a line. They are taken as they are sent. An empty one is a line without a code.
        import_id: A UUID that names the import: call again with the same one, and the same codes, after an
            interruption. Codes that were added before are recognized. Empty: this client makes one.
        """
        source = iterated(codes)
        progress = ImportProgress(campaign_id, import_id, self._policy)
        while True:
            while progress.has_room and (code := await anext_or_none(source)) is not None:
                progress.add(code)
            if not progress.begin(time.monotonic()):
                return progress.result
            while isinstance(answer := await self._import(progress), CouponError):
                await self._pause(progress.state, progress.schedule, answer)
            progress.took(answer)

    async def _import(self, progress: ImportProgress) -> v1.ImportCodesResponse | CouponError:
        number = self._routers.next(time.monotonic())
        stub = self._routers.connections[number].stream_stream(
            IMPORT.path, IMPORT.request.SerializeToString, IMPORT.response.FromString)
        try:
            answer = await stub(iter([progress.message]), timeout=progress.schedule.timeout(time.monotonic())).read()
        except grpc.aio.AioRpcError as error:
            return self._noted(number, from_rpc_error(error))
        if answer is grpc.aio.EOF:
            return ended()
        self._routers.answered(number)
        response: v1.ImportCodesResponse = answer
        return response

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

    async def watch_campaign(
        self, *, campaign_id: str = "", after_revision: int = 0, after_state: v1.CampaignState | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[v1.Campaign]:
        """A campaign as it is now, and again whenever it changes; see the definition of `WatchCampaign`.

        When the stream breaks, the watch is resumed after the last campaign, at the next router. The iterator ends with
        `CampaignNotFound` when the campaign is deleted.

        campaign_id: The campaign.
        after_revision: The revision of the last campaign that you have seen. 0: begins with the present.
        after_state: Its state. None: does not matter.
        timeout: The maximum time for which the campaign is out of reach, in seconds. None: that of the policy.
        """
        method = Method("/coupon.v1.CampaignService/WatchCampaign", v1.WatchCampaignRequest, v1.WatchCampaignResponse)
        request = v1.WatchCampaignRequest(
            campaign_id=campaign_id, after_revision=after_revision, after_state=after_state)

        def note(part: v1.WatchCampaignResponse) -> None:
            request.after_revision = part.campaign.revision
            request.after_state = part.campaign.state

        async for part in self._follow(method, request, timeout, note):
            yield part.campaign

    async def stream_events(
        self, *, campaign_id: str = "", after_revision: int = 0, history_id: int = 0, timeout: float | None = None,
    ) -> AsyncIterator[v1.Event]:
        """The events of a campaign, and every further one as it happens; see the definition of `StreamEvents`.

        When the stream breaks, it is resumed after the last event, at the next router. Keep the revision and the
        history_id of an event once you have processed it, and begin with them the next time: so you miss none. The
        iterator ends with `CampaignNotFound` when the campaign is deleted, and with `HistoryChanged` when it was
        restored from a backup that lacks events you know.

        campaign_id: The campaign.
        after_revision: The revision of the last event that you have processed. 0: none.
        history_id: Its history_id.
        timeout: The maximum time for which the campaign is out of reach, in seconds. None: that of the policy.
        """
        method = Method("/coupon.v1.EventService/StreamEvents", v1.StreamEventsRequest, v1.StreamEventsResponse)
        request = v1.StreamEventsRequest(
            campaign_id=campaign_id, after_revision=after_revision, history_id=history_id)

        def note(part: v1.StreamEventsResponse) -> None:
            request.after_revision = part.events[-1].revision
            request.history_id = part.events[-1].history_id

        async for part in self._follow(method, request, timeout, note):
            for event in part.events:
                yield event

async def iterated(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """The items of an iterable of either kind."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def anext_or_none(source: AsyncIterator[T]) -> T | None:
    """The next item; None at the end."""
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        return None
