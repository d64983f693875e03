"""Exceptions: one base class, and a class for every reason that a router gives.

Neither `str` nor `repr` of them shows codes of coupons or recipients. Those are in `metadata`, and in attributes such
as `RecipientLimitReached.codes`.
"""

from __future__ import annotations

import copy
import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import grpc


class Meaning(enum.Enum):
    """What an error says about the call."""

    # It had no effect; the same request is refused again unless something else changes.
    REFUSED = enum.auto()
    # It had no effect, for a reason that may pass.
    RETRY_UNCHANGED = enum.auto()
    # It may have had an effect: only the same request id tells.
    RETRY_AMBIGUOUS = enum.auto()
    # It may have had an effect, and repeating it at once does not help.
    UNKNOWN = enum.auto()

    @property
    def is_retryable(self) -> bool:
        """Whether the same request is to be sent again."""
        return self in (Meaning.RETRY_UNCHANGED, Meaning.RETRY_AMBIGUOUS)

    @property
    def may_have_happened(self) -> bool:
        """Whether the call may have had an effect."""
        return self in (Meaning.RETRY_AMBIGUOUS, Meaning.UNKNOWN)


@dataclass(frozen=True)
class Violation:
    """A field that is not what it must be."""

    field: str
    description: str


class CouponError(Exception):
    """An error that a call was answered with.

    Its class says the reason. An error of this class itself has a reason that this client does not know.

    code: The gRPC code.
    reason: The reason, such as "SOLD_OUT"; empty if no router gave one.
    message: For people.
    metadata: What the reason says besides.
    violations: The fields that are not what they must be.
    retry_after: Minimum time before the request is repeated, in seconds; None if the server gave none.
    request_id: The request id of all attempts; empty for calls that only read.
    attempts: The number of attempts.
    """

    # The reason of a class's errors.
    REASON: ClassVar[str] = ""
    # None: the code decides.
    MEANING: ClassVar[Meaning | None] = None
    # Whether the reason says that no earlier attempt of the same call had or will have an effect. The server looks for
    # the request id before it gives such a reason.
    SETTLES: ClassVar[bool] = False

    BY_REASON: ClassVar[dict[str, type[CouponError]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.REASON:
            CouponError.BY_REASON[cls.REASON] = cls

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.request_id = ""
        self.attempts = 1

    @property
    def meaning(self) -> Meaning:
        """What it says about the call."""
        if self.MEANING is not None:
            return self.MEANING
        if self.code in _TRANSIENT:
            return Meaning.RETRY_AMBIGUOUS
        return Meaning.REFUSED if self.code in _DEFINITE else Meaning.UNKNOWN

    @property
    def settles_earlier_attempts(self) -> bool:
        """Whether it says that no earlier attempt of the same call had or will have an effect."""
        return self.SETTLES

    def __str__(self) -> str:
        return f"{self.message} ({self.reason or self.code.name})"

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(code={self.code.name}, reason={self.reason!r}, "
                f"request_id={self.request_id!r}, attempts={self.attempts})")

    def __reduce__(self) -> Any:
        # By its fields, so that process pools can pass it on.
        return _restored, (type(self), self.code, self.message), self.__dict__

    def copy(self) -> CouponError:
        """Another exception that says the same."""
        return copy.copy(self)

    def _time(self, key: str) -> datetime | None:
        return _rfc3339(self.metadata.get(key, ""))


def _restored(kind: type[CouponError], code: grpc.StatusCode, message: str) -> CouponError:
    return kind(code, message)


# Codes whose sender is busy, late or gone.
_TRANSIENT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}

# Codes that say that the call had no effect.
_DEFINITE = {
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNIMPLEMENTED,
}

# A connection that breaks shows as any of these, and an answer that is too large for this client as the last two.
_LOST = _TRANSIENT | {
    grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.OUT_OF_RANGE,
}


def _rfc3339(text: str) -> datetime | None:
    """Reads a time in UTC, to the microsecond; None if it is none."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", text)
    if found is None:
        return None
    micros = int((found[2] or "").ljust(6, "0")[:6])
    try:
        return datetime.fromisoformat(found[1] + "+00:00") + timedelta(microseconds=micros)
    except ValueError:
        return None


class TransportError(CouponError):
    """No router made this error: a deadline expired, or a connection or a library failed."""

    # What gRPC says about calls that it never sent, since there was no connection.
    _UNSENT = ("connections to all backends failing", "failed to connect to all addresses", "DNS resolution failed")

    @property
    def meaning(self) -> Meaning:
        if self.code is grpc.StatusCode.UNAVAILABLE and self.message.startswith(self._UNSENT):
            return Meaning.RETRY_UNCHANGED
        return Meaning.RETRY_AMBIGUOUS if self.code in _LOST else super().meaning


class Refused(CouponError):
    """The call had no effect. The same request is refused again unless something else changes first."""

    MEANING = Meaning.REFUSED


class Unavailable(CouponError):
    """The call had no effect, for a reason that may pass. The client gave up repeating it."""

    MEANING = Meaning.RETRY_UNCHANGED


class Incomplete(Unavailable):
    """A list is over, and some shards could not be reached: what they have is missing. List again later.

    unreachable: The shards, such as "shards/3".
    """

    def __init__(self, unreachable: Sequence[str]) -> None:
        super().__init__(
            grpc.StatusCode.UNAVAILABLE,
            f"the list is not complete: {', '.join(unreachable)} cannot be reached; list again later",
        )
        self.unreachable = tuple(unreachable)

    def __reduce__(self) -> Any:
        return type(self), (self.unreachable,)


class OutcomeUnknown(CouponError):
    """The call may have had an effect. Keep `request_id` and repeat the call with it, to learn what came of it."""

    REASON = "OUTCOME_UNKNOWN"
    MEANING = Meaning.RETRY_AMBIGUOUS

    @classmethod
    def after(cls, last: CouponError) -> OutcomeUnknown:
        """The error of a call whose last attempt ended with another error."""
        if isinstance(last, cls):
            return last
        return cls(last.code, f"the outcome is unknown; the last answer: {last}", reason=cls.REASON,
                   retry_after=last.retry_after)


class DeadlineExceeded(CouponError):
    """The request did not arrive as a whole in time, or its answer is late."""

    REASON = "DEADLINE_EXCEEDED"
    MEANING = Meaning.RETRY_AMBIGUOUS


class Internal(CouponError):
    """A fault of the router or of a node."""

    REASON = "INTERNAL"
    MEANING = Meaning.UNKNOWN
