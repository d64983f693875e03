"""Python's types as fields of messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(time: datetime | None) -> Timestamp | None:
    """An instant. A time without an offset is refused, because it means another instant on another machine."""
    if time is None:
        return None
    if time.utcoffset() is None:
        raise ValueError("a time needs an offset: give the datetime a tzinfo, such as timezone.utc")
    message = Timestamp()
    message.FromDatetime(time)
    return message


def duration(time: timedelta | None) -> Duration | None:
    """A length of time."""
    if time is None:
        return None
    message = Duration()
    message.FromTimedelta(time)
    return message


def field_mask(paths: Iterable[str] | None) -> FieldMask | None:
    """The fields that are meant."""
    if paths is None:
        return None
    if isinstance(paths, str):
        raise TypeError("a mask is a list of fields: write [\"quota\"] instead of \"quota\"")
    return FieldMask(paths=paths)
