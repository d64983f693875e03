"""A class for every reason that a router gives."""

from __future__ import annotations

from datetime import datetime, timedelta

from .errors import Refused, Unavailable


class NoLeader(Unavailable):
    """The campaign's shard has no leader."""

    REASON = "NO_LEADER"


class Overloaded(Unavailable):
    """The router or a node has too much to do."""

    REASON = "OVERLOADED"


class StreamBroken(Unavailable):
    """A stream ended before everything was sent."""

    REASON = "STREAM_BROKEN"


class RevisionGone(Refused):
    """What coupons were when a stream began is not known any more. Begin again."""

    REASON = "REVISION_GONE"


class HistoryChanged(Refused):
    """The campaign's shard continues from a backup or from one of two histories, and events that you know were lost."""

    REASON = "HISTORY_CHANGED"

    @property
    def history_id(self) -> int:
        """The history now. Read the events from the beginning."""
        return int(self.metadata.get("history_id", "0"))


class NotStarted(Refused):
    """Before the campaign's start. The same request may succeed after it."""

    REASON = "NOT_STARTED"

    @property
    def start_time(self) -> datetime | None:
        """When the campaign starts."""
        return self._time("start_time")

    @property
    def server_time(self) -> datetime | None:
        """What time it was for the server."""
        return self._time("server_time")

    @property
    def starts_in(self) -> timedelta | None:
        """Time from the answer to the start, by the server's clock. Your own clock may differ from it."""
        if self.start_time is None or self.server_time is None:
            return None
        return max(self.start_time - self.server_time, timedelta())


class Ended(Refused):
    """At or after the campaign's end."""

    REASON = "ENDED"
    SETTLES = True

    @property
    def end_time(self) -> datetime | None:
        """When the campaign ended."""
        return self._time("end_time")

    @property
    def server_time(self) -> datetime | None:
        """What time it was for the server."""
        return self._time("server_time")


class Paused(Refused):
    """An administrator has paused the campaign."""

    REASON = "PAUSED"


class SoldOut(Refused):
    """The quota is used up."""

    REASON = "SOLD_OUT"


class OutOfCodes(Refused):
    """All codes that were imported are issued, but not all of the quota: more may be imported."""

    REASON = "OUT_OF_CODES"


class QuotaHeld(Refused):
    """What is not issued of the quota is held, and may come back: `retry_after` says when to ask again."""

    REASON = "QUOTA_HELD"


class TooManyHolds(Refused):
    """There are too many holds to make another one: `retry_after` says when to ask again."""

    REASON = "TOO_MANY_HOLDS"


class CodesNotImported(Refused):
    """The campaign makes its codes itself."""

    REASON = "CODES_NOT_IMPORTED"


class ImportLinesMissing(Refused):
    """The lines before the first one of a message have not come."""

    REASON = "IMPORT_LINES_MISSING"

    @property
    def next_line(self) -> int:
        """The line that the import goes on with."""
        return int(self.metadata.get("next_line", "1"))


class TooManyImports(Refused):
    """The campaign has as many imports as it may."""

    REASON = "TOO_MANY_IMPORTS"


class HoldNotFound(Refused):
    """There is no such hold, or it ended long ago."""

    REASON = "HOLD_NOT_FOUND"


class HoldExpired(Refused):
    """At or after the end of the hold."""

    REASON = "HOLD_EXPIRED"
    SETTLES = True

    @property
    def expire_time(self) -> datetime | None:
        """Since when it cannot be confirmed."""
        return self._time("expire_time")


class HoldConfirmed(Refused):
    """Another request has confirmed the hold."""

    REASON = "HOLD_CONFIRMED"
    SETTLES = True

    @property
    def confirm_time(self) -> datetime | None:
        """When it was confirmed."""
        return self._time("confirm_time")


class HoldReleased(Refused):
    """Another request has released the hold."""

    REASON = "HOLD_RELEASED"
    SETTLES = True

    @property
    def release_time(self) -> datetime | None:
        """When it was released."""
        return self._time("release_time")


class HoldsOpen(Refused):
    """The campaign still has open holds, which can be confirmed."""

    REASON = "HOLDS_OPEN"


class ShardFull(Refused):
    """The campaign's shard has used up its numbers for campaigns or codes."""

    REASON = "SHARD_FULL"


class ShardDiverged(Refused):
    """The campaign's shard has two histories, and is stopped until an operator recovers it."""

    REASON = "SHARD_DIVERGED"


class RecipientLimitReached(Refused):
    """The recipient holds as many coupons as the campaign allows."""

    REASON = "RECIPIENT_LIMIT_REACHED"

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that the recipient holds, the first ten of them."""
        return tuple(filter(None, self.metadata.get("codes", "").split(",")))

    @property
    def hold_ids(self) -> tuple[str, ...]:
        """The ids of the recipient's open holds, the first ten of them."""
        return tuple(filter(None, self.metadata.get("hold_ids", "").split(",")))


class RecipientRequired(Refused):
    """A campaign with a limit per recipient needs a recipient."""

    REASON = "RECIPIENT_REQUIRED"


class RequestIdReused(Refused):
    """Another request had this request id before."""

    REASON = "REQUEST_ID_REUSED"
    SETTLES = True


class FieldViolations(Refused):
    """Fields are not what they must be: see `violations`."""

    REASON = "FIELD_VIOLATIONS"


class CampaignExists(Refused):
    """Another request created a campaign with this id."""

    REASON = "CAMPAIGN_EXISTS"
    SETTLES = True


class CampaignNotFound(Refused):
    """There is no such campaign."""

    REASON = "CAMPAIGN_NOT_FOUND"


class AlreadyRedeemed(Refused):
    """The coupon is redeemed."""

    REASON = "ALREADY_REDEEMED"

    @property
    def redeem_time(self) -> datetime | None:
        """When it was redeemed."""
        return self._time("redeem_time")


class NotRedeemed(Refused):
    """The coupon is not redeemed, so that there is nothing to reverse."""

    REASON = "NOT_REDEEMED"


class CouponVoided(Refused):
    """An administrator has voided the coupon."""

    REASON = "COUPON_VOIDED"
    SETTLES = True

    @property
    def void_time(self) -> datetime | None:
        """When it was voided."""
        return self._time("void_time")


class CouponExpired(Refused):
    """At or after the end of the coupon."""

    REASON = "COUPON_EXPIRED"
    SETTLES = True

    @property
    def expire_time(self) -> datetime | None:
        """Since when it cannot be used."""
        return self._time("expire_time")


class CouponNotFound(Refused):
    """There is no such coupon."""

    REASON = "COUPON_NOT_FOUND"


class CodeMalformed(Refused):
    """The code has a symbol that is in no code, or too few or too many."""

    REASON = "CODE_MALFORMED"


class CodeCheckFailed(Refused):
    """A symbol of the code is wrong, or two are swapped."""

    REASON = "CODE_CHECK_FAILED"


class EtagMismatch(Refused):
    """The campaign was changed since it was read. Read it again."""

    REASON = "ETAG_MISMATCH"


class QuotaBelowIssued(Refused):
    """The quota asked for is less than what is issued and held."""

    REASON = "QUOTA_BELOW_ISSUED"


class AlreadyStarted(Refused):
    """The campaign has started, and its start can no longer be changed."""

    REASON = "ALREADY_STARTED"


class EndTimeInPast(Refused):
    """The end asked for is in the past."""

    REASON = "END_TIME_IN_PAST"


class NotEnded(Refused):
    """The campaign has not ended, and only one that has can be archived."""

    REASON = "NOT_ENDED"


class Archived(Refused):
    """The campaign is archived: it can be read, but not changed."""

    REASON = "ARCHIVED"


class NotArchived(Refused):
    """The campaign is not archived, and only an archived one can be deleted."""

    REASON = "NOT_ARCHIVED"


class CampaignDeleted(Refused):
    """A campaign with this id was deleted, and ids are never reused."""

    REASON = "CAMPAIGN_DELETED"
