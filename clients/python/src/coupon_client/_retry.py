"""How long a call is repeated, at which pauses, and what is known of it meanwhile.

Pure: time and jitter are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import CouponError, Meaning, OutcomeUnknown

# Shortest timeout that is sent, in seconds.
_TIMEOUT_MIN = 0.001

# Minimum time that must be left for a repetition, in seconds. A router answers a tenth before the end of an attempt;
# a shorter attempt could end without an answer, and make an outcome unknown that is known.
_REPETITION_MIN = 0.1

# Maximum number of times that a pause is doubled.
_DOUBLINGS_MAX = 16


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call is repeated. All times are in seconds.

    attempt_timeout: Timeout of one attempt. A router tries for as long itself, an election included.
    give_up_after: Maximum time for all attempts of a call together.
    backoff_min: Pause before the first repetition; each further one is twice as long.
    backoff_max: Longest pause, unless the server asks for a longer one.
    """

    attempt_timeout: float = 5.0
    give_up_after: float = 30.0
    backoff_min: float = 0.05
    backoff_max: float = 2.0


class RetrySchedule:
    """When the attempts of one call are made: its time and its pauses."""

    def __init__(self, policy: RetryPolicy, timeout: float | None, now: float) -> None:
        self._policy = policy
        self._end = now + (policy.give_up_after if timeout is None else timeout)
        self._repetitions = 0

    def timeout(self, now: float) -> float:
        """The timeout of an attempt that begins now."""
        return max(min(self._policy.attempt_timeout, self._end - now), _TIMEOUT_MIN)

    def pause(self, retry_after: float | None, jitter: float, now: float) -> float | None:
        """The pause before the next attempt; None if there is no time for one.

        retry_after: what the server asks for at least.
        jitter: random, from 0 to 1, so that calls that failed together do not come back together.
        """
        usual = self._policy.backoff_min * 2 ** min(self._repetitions, _DOUBLINGS_MAX)
        self._repetitions += 1
        # Up to half is left out; of what the server asks for, up to half is added.
        pause = min(usual, self._policy.backoff_max) * (0.5 + jitter / 2)
        if retry_after is not None:
            pause = max(pause, retry_after * (1 + jitter / 2))
        return pause if self._end - now - pause >= _REPETITION_MIN else None


class CallState:
    """What is known of a call after some attempts."""

    def __init__(self, request_id: str) -> None:
        # The same for all attempts; empty for calls that have none, which only read.
        self._request_id = request_id
        self._attempts = 0
        self._may_have_happened = False

    def failed(self, error: CouponError) -> CouponError | None:
        """Takes the error of an attempt. Returns the error of the call, or None if the call is to be repeated."""
        self._attempts += 1
        if error.meaning.is_retryable:
            self._may_have_happened |= error.meaning.may_have_happened
            return None
        is_open = self._may_have_happened and not error.settles_earlier_attempts
        return self._of_call(error, is_open or error.meaning.may_have_happened)

    def given_up(self, error: CouponError) -> CouponError:
        """The error of a call that is given up after an attempt with this error."""
        return self._of_call(error, self._may_have_happened)

    def _of_call(self, error: CouponError, is_unknown: bool) -> CouponError:
        if is_unknown and self._request_id:
            error = OutcomeUnknown.after(error)
        error.request_id = self._request_id
        error.attempts = self._attempts
        return error
