"""A router that answers what a test tells it, and keeps what it was asked."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "coupon.v1"


def status(code, reason, retry_millis=None, domain=DOMAIN, **metadata):
    """A google.rpc.Status as routers make them."""
    details = [error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)]
    if retry_millis is not None:
        delay = Duration()
        delay.FromMilliseconds(retry_millis)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = [Any() for _ in details]
    for any_message, detail in zip(packed, details):
        any_message.Pack(detail)
    return status_pb2.Status(code=code.value[0], message="no", details=packed)


class FakeRouter(grpc.GenericRpcHandler):
    """Answers with the next of `answers`: a message, a list of messages for a stream, or a status.

    A status at the end of a list breaks the stream.
    """

    def __init__(self):
        self.answers = []
        # The names of the methods and the requests.
        self.asked = []
        self.address = ""

    def service(self, handler_call_details):
        """The handler of a method, as grpcio asks for it."""
        name = handler_call_details.method.rsplit("/", 1)[1]
        if name in ("StreamCoupons", "StreamEvents", "WatchCampaign"):
            return grpc.unary_stream_rpc_method_handler(
                lambda request, context: self._stream(name, request, context),
                response_serializer=lambda message: message.SerializeToString())
        if name in ("IssueStream", "ImportCodes"):
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, context: self._answer_each(name, requests, context),
                response_serializer=lambda message: message.SerializeToString())
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._answer(name, request, context),
            response_serializer=lambda message: message.SerializeToString())

    def _answer(self, name, request, context):
        self.asked.append((name, request))
        answer = self.answers.pop(0)
        if isinstance(answer, status_pb2.Status):
            self._abort(answer, context)
        return answer(request) if callable(answer) else answer

    def _answer_each(self, name, requests, context):
        """A status among the answers ends the stream; others are functions of a request."""
        for request in requests:
            self.asked.append((name, request))
            answer = self.answers.pop(0)
            if isinstance(answer, status_pb2.Status):
                self._abort(answer, context)
            yield answer(request)

    def _stream(self, name, request, context):
        self.asked.append((name, request))
        for part in self.answers.pop(0):
            if isinstance(part, status_pb2.Status):
                self._abort(part, context)
            yield part

    @staticmethod
    def _abort(answer, context):
        if answer.details:
            context.set_trailing_metadata([("grpc-status-details-bin", answer.SerializeToString())])
        code = next(code for code in grpc.StatusCode if code.value[0] == answer.code)
        context.abort(code, answer.message)


@contextmanager
def fake_router():
    """Runs a fake router."""
    router = FakeRouter()
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers([router])
    port = server.add_insecure_port("127.0.0.1:0")
    router.address = f"127.0.0.1:{port}"
    server.start()
    try:
        yield router
    finally:
        server.stop(None).wait()
