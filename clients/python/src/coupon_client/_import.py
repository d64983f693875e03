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

    import_id: Names the import. Call again with the same id and the same codes after an interruption.
    next_line: The line after the last one.
    imported: How many codes the import has added, earlier calls included.
    refused_lines: The lines whose codes were not added.
    """

    import_id: str
    next_line: int = 1
    imported: int = 0
    refused_lines: list[v1.RefusedLine] = field(default_factory=list)


class ImportProgress:
    """An import under way.

    `add` takes the codes of a message, as long as it `has_room`; `begin` makes the `message`, which is to be sent, and
    `took` takes its answer. Without any codes, the only message asks how far the import has come.
    """

    message: v1.ImportCodesRequest
    state: CallState
    schedule: RetrySchedule

    def __init__(self, campaign_id: str, import_id: str, policy: RetryPolicy) -> None:
        self.result = ImportResult(import_id or new_request_id())
        self._campaign_id = campaign_id
        self._policy = policy
        # The line of the next code that is added.
        self._line = 1
        self._codes: list[str] = []
        self._size = 0
        self._has_begun = False

    def took(self, answer: v1.ImportCodesResponse) -> None:
        """Takes the answer to the message."""
        self.result.next_line, self.result.imported = answer.next_line, answer.imported
        self.result.refused_lines.extend(answer.refused_lines)

    @property
    def has_room(self) -> bool:
        """Whether another code fits into the next message."""
        return len(self._codes) < _CODES_MAX and self._size < _BYTES_MAX

    def add(self, code: str) -> None:
        """Adds the code of the next line, without the end of the line."""
        code = code.rstrip("\r\n")[:_CODE_SENT_MAX]
        self._codes.append(code)
        self._size += len(code.encode()) + 3
        self._line += 1

    def begin(self, now: float) -> bool:
        """Makes a message of the codes that were added; False at the end."""
        if self._has_begun and not self._codes:
            return False
        self._has_begun = True
        self.message = v1.ImportCodesRequest(
            campaign_id=self._campaign_id, import_id=self.result.import_id,
            first_line=self._line - len(self._codes), codes=self._codes)
        self._codes, self._size = [], 0
        # Each message has the time of a call.
        self.state = CallState(self.result.import_id)
        self.schedule = RetrySchedule(self._policy, None, now)
        return True


def ended() -> TransportError:
    """The error of a stream that has ended without an answer."""
    return TransportError(grpc.StatusCode.UNAVAILABLE, "the stream ended before the answer")
