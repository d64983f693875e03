"""What an error says besides its code: the details of google.rpc.Status."""

from contextlib import contextmanager

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DOMAIN = "coupon.v1"


class Refusal:
    """An error answer, taken apart."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        status = rpc_status.from_call(error)
        assert status is not None, f"{error} has no google.rpc.Status"
        self._details = status.details
        info = self.detail(error_details_pb2.ErrorInfo)
        assert info.domain == DOMAIN
        self.reason = info.reason
        self.metadata = dict(info.metadata)

    def detail(self, kind):
        """The one detail of this kind."""
        (found,) = [detail for detail in self._details if detail.Is(kind.DESCRIPTOR)]
        message = kind()
        assert found.Unpack(message)
        return message

    def violations(self):
        """The fields that a BadRequest names, with what is wrong with them."""
        bad_request = self.detail(error_details_pb2.BadRequest)
        return {found.field: found.description for found in bad_request.field_violations}


@contextmanager
def refused(code, reason):
    """Expects the block to be refused; yields a function that returns the refusal afterwards."""
    with pytest.raises(grpc.RpcError) as caught:
        yield lambda: Refusal(caught.value)
    refusal = Refusal(caught.value)
    assert (refusal.code, refusal.reason) == (code, reason), refusal.message
