"""The blocking client."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import grpc

from . import v1
from ._batch import Batch, BatchResult
from ._decode import from_rpc_error
from ._import import METHOD as IMPORT, ImportProgress, ImportResult, ended
from ._issue_stream import IN_FLIGHT_MAX, METHOD, Issued, IssueWindow
from ._method import Method
from ._operations import Operations
from ._retry import RetrySchedule, RetryPolicy
from .errors import CouponError


class Client(Operations):
    """A blocking client of one or several routers of a cluster. Threads may share it.

    routers: The addresses, each host:port or http://host:port. Calls go to them in turn.
    policy: How long calls are repeated.
    """

    def __init__(self, routers: str | Iterable[str], policy: RetryPolicy = RetryPolicy()) -> None:
        super().__init__(routers, policy)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def batch_issue_coupons(
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
            answer = self._attempt(method, batch.request(), schedule.timeout(time.monotonic()))
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
                time.sleep(pause)
        return batch.results()

    def issue_stream(
        self, requests: Iterable[v1.IssueCouponRequest], *, in_flight: int = 256,
    ) -> Iterator[Issued]:
        """Issues a coupon for each request over a stream, and yields the answers in the order in which they come: pairs
        of the request, with its request id, and a response, or the error that `issue_coupon` would have raised.

        When a stream breaks, what has no answer is asked again over another one, with the same request ids.

        requests: The requests, of one or several campaigns. They are taken as there is room for them, and each is sent
            at once. While the next one is waited for, answers wait.
        in_flight: How many are taken before some are answered, at most 1,000.
        """
        source, window = iter(requests), IssueWindow(self._policy)
        in_flight, has_more = min(in_flight, IN_FLIGHT_MAX), True
        while True:
            # A stream is opened when there is something to send.
            if has_more and not window:
                has_more = take_next(source, window)
            if not window:
                return
            time.sleep(window.pause(time.monotonic()) or 0.0)
            number = self._routers.next(time.monotonic())
            stream = _OpenStream(self._routers.connections[number])
            error: CouponError | None = None
            try:
                while has_more or window:
                    for message in window.due(time.monotonic()):
                        stream.send(message)
                    has_room = has_more and len(window) < in_flight
                    answer = stream.answer(0.0 if has_room else window.pause(time.monotonic()))
                    if answer is not None:
                        self._routers.answered(number)
                        yield from window.answered(answer, time.monotonic())
                    elif has_room:
                        has_more = take_next(source, window)
            except _StreamEnded:
                pass
            except grpc.RpcError as rpc_error:
                error = self._noted(number, from_rpc_error(rpc_error))
            finally:
                stream.close()
            yield from window.broken(error, time.monotonic())

    def import_codes(self, *, campaign_id: str, codes: Iterable[str], import_id: str = "") -> ImportResult:
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
        source = iter(codes)
        progress = ImportProgress(campaign_id, import_id, self._policy)
        while True:
            while progress.has_room and (code := next(source, None)) is not None:
                progress.add(code)
            if not progress.begin(time.monotonic()):
                return progress.result
            while isinstance(answer := self._import(progress), CouponError):
                self._pause(progress.state, progress.schedule, answer)
            progress.took(answer)

    def _import(self, progress: ImportProgress) -> v1.ImportCodesResponse | CouponError:
        number = self._routers.next(time.monotonic())
        stub = self._routers.connections[number].stream_stream(
            IMPORT.path, IMPORT.request.SerializeToString, IMPORT.response.FromString)
        try:
            answer: v1.ImportCodesResponse | None = next(stub(iter([progress.message]), timeout=progress.schedule.timeout(time.monotonic())), None)
        except grpc.RpcError as error:
            return self._noted(number, from_rpc_error(error))
        if answer is None:
            return ended()
        self._routers.answered(number)
        return answer

    def watch_campaign(
        self, *, campaign_id: str = "", after_revision: int = 0, after_state: v1.CampaignState | None = None,
        timeout: float | None = None,
    ) -> Iterator[v1.Campaign]:
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

        for part in self._follow(method, request, timeout, note):
            yield part.campaign

    def stream_events(
        self, *, campaign_id: str = "", after_revision: int = 0, history_id: int = 0, timeout: float | None = None,
    ) -> Iterator[v1.Event]:
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

        for part in self._follow(method, request, timeout, note):
            for event in part.events:
                yield event


def take_next(source: Iterator[v1.IssueCouponRequest], window: IssueWindow) -> bool:
    """Takes the next request; False if there is none."""
    request = next(source, None)
    if request is not None:
        window.add(request, time.monotonic())
    return request is not None


class _StreamEnded(Exception):
    """The router ended a stream without an error."""


class _OpenStream:
    """A stream of issues. Its answers are read by a thread of its own, since gRPC's iterator cannot be asked whether there
    is one."""

    def __init__(self, connection: grpc.Channel) -> None:
        self._outgoing: queue.SimpleQueue[v1.IssueStreamRequest | None] = queue.SimpleQueue()
        self._incoming: queue.SimpleQueue[v1.IssueStreamResponse | Exception] = queue.SimpleQueue()
        stub = connection.stream_stream(
            METHOD.path, METHOD.request.SerializeToString, METHOD.response.FromString)
        self._call: Any = stub(iter(self._outgoing.get, None))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._incoming.put(answer)
            self._incoming.put(_StreamEnded())
        except grpc.RpcError as error:
            self._incoming.put(error)

    def send(self, message: v1.IssueStreamRequest) -> None:
        """Sends a message."""
        self._outgoing.put(message)

    def answer(self, patience: float | None) -> v1.IssueStreamResponse | None:
        """The next answer; None if there is none within so many seconds. None as patience: it is waited for.

        Raises _StreamEnded or grpc.RpcError when the stream has ended.
        """
        try:
            answer = self._incoming.get(timeout=patience) if patience != 0.0 else self._incoming.get_nowait()
        except queue.Empty:
            return None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the stream, and with it the thread."""
        self._outgoing.put(None)
        self._call.cancel()
