"""Codes in the messages of an import, and how far it has come. Pure: the time is passed in."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc

from . import v1
from ._method import Method
from ._request_id import new_request_id
from ._retry import CallState, RetrySchedule, RetryPolicy
from .errors import TransportError

METHOD = Method("/coupon.v1.CampaignService/ImportCodes", v1.ImportCodesRequest, v1.ImportCodesResponse)

# Of a message. With what else is in it, and one more code, it has less than 64 KiB.
_CODES_MAX = 1_000
_BYTES_MAX = 60_000

# Characters of a code that are sent: one more than the longest code has, so that a longer one stays too long.
_CODE_SENT_MAX = 65


@dataclass
class ImportResult:
    """What came of an import.

    import_id: Names the import. Call again with the same id and the same codes to go on with it.
    first_line: The line that this call began with, from 1: an earlier one has sent those before.
    next_line: The line after the last one.
    imported: How many codes the import has added, earlier calls included.
    refused_lines: The lines of this call whose codes were not added.
    """

    import_id: str
    first_line: int = 1
    next_line: int = 1
    imported: int = 0
    refused_lines: list[v1.RefusedLine] = field(default_factory=list)


class ImportProgress:
    """An import under way.

    `message` is to be sent; `took` takes its answer, `add` the codes of the next one, as long as it `has_room`, and
    `begin` makes it. There is none when no code was added.
    """

    def __init__(self, campaign_id: str, import_id: str, policy: RetryPolicy, now: float) -> None:
        self.result = ImportResult(import_id or new_request_id())
        self._campaign_id = campaign_id
        self._policy = policy
        # The line of the next code that is added.
        self._line = 1
        # Those before it are skipped; None until the answer to the first message, which asks for it.
        self._skip_to: int | None = None
        self._codes: list[str] = []
        self._size = 0
        self.message: v1.ImportCodesRequest | None = self._new_message()
        self._restart(now)

    def took(self, answer: v1.ImportCodesResponse) -> None:
        """Takes the answer to the message."""
        self.result.next_line, self.result.imported = answer.next_line, answer.imported
        if self._skip_to is None:
            self._skip_to = self.result.first_line = answer.next_line
        else:
            self.result.refused_lines.extend(answer.refused_lines)

    @property
    def has_room(self) -> bool:
        """Whether another code fits into the next message."""
        return len(self._codes) < _CODES_MAX and self._size < _BYTES_MAX

    def add(self, code: str) -> None:
        """Adds the code of the next line, unless an earlier call has sent it."""
        if self._line >= (self._skip_to or 1):
            code = code[:_CODE_SENT_MAX]
            self._codes.append(code)
            self._size += len(code.encode()) + 3
        self._line += 1

    def begin(self, now: float) -> None:
        """Makes a message of the codes that were added."""
        self.message = self._new_message() if self._codes else None
        self._codes, self._size = [], 0
        self._restart(now)

    def _new_message(self) -> v1.ImportCodesRequest:
        return v1.ImportCodesRequest(
            campaign_id=self._campaign_id, import_id=self.result.import_id,
            first_line=self._line - len(self._codes), codes=self._codes)

    def _restart(self, now: float) -> None:
        # Each message has the time of a call.
        self.state = CallState(self.result.import_id)
        self.schedule = RetrySchedule(self._policy, None, now)


def ended() -> TransportError:
    """The error of a stream that has ended without an answer."""
    return TransportError(grpc.StatusCode.UNAVAILABLE, "the stream ended before the answer")
