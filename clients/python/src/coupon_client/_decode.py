"""Errors of gRPC as exceptions of this package."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from . import reasons as reasons  # Registers the classes.
from .errors import CouponError, TransportError, Violation

# The domain of the reasons that routers give. Others are those of proxies and libraries.
_DOMAIN = "coupon.v1"

_DETAILS_KEY = "grpc-status-details-bin"

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def from_rpc_error(error: Any) -> CouponError:
    """The exception for an error of grpc or grpc.aio."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            try:
                status.ParseFromString(value)
            except DecodeError:
                # An answer that is not ours; the code is left.
                status.Clear()
    return _exception(error.code(), error.details() or "", status)


def error_from_status(status: status_pb2.Status) -> CouponError:
    """The exception for an error that stands in an answer, as in that of `validate_coupon`."""
    return _exception(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), status.message, status)


def missing_result() -> CouponError:
    """The exception for a request of a batch that the answer does not mention."""
    return TransportError(grpc.StatusCode.UNKNOWN, "the answer to the batch has no result")


def _exception(code: grpc.StatusCode, message: str, status: Any) -> CouponError:
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    bad_request = error_details_pb2.BadRequest()
    for detail in status.details:
        for kind in (info, retry, bad_request):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(kind)
    is_ours = info.domain == _DOMAIN
    kind = CouponError.BY_REASON.get(info.reason, CouponError) if is_ours else TransportError
    retry_after = retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None
    return kind(
        code, message,
        reason=info.reason if is_ours else "",
        metadata=dict(info.metadata),
        violations=[Violation(found.field, found.description) for found in bad_request.field_violations],
        retry_after=retry_after)
