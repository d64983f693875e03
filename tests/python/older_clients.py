"""Clients of couponpb.CouponService, the older API, that others wrote: one for each protocol."""

import http.client
import json
from contextlib import contextmanager

import grpc
import pytest
from google.protobuf import json_format

# Each call has a deadline, as a careful client's do; nothing here comes near it.
SECONDS = 20
SERVICE = "couponpb.CouponService"

NOT_STARTED = "coupon issuance not started yet"
SOLD_OUT = "no more coupons available"


class Refused(Exception):
    """An error of any protocol, its code as Connect writes it."""

    def __init__(self, code, message):
        super().__init__(code, message)
        self.code, self.message = code, message


class GrpcClient:
    def __init__(self, address, pb, pb_grpc):
        self._channel = grpc.insecure_channel(address)
        self._stub = pb_grpc.CouponServiceStub(self._channel)

    def call(self, method, request):
        try:
            return getattr(self._stub, method)(request, timeout=SECONDS)
        except grpc.RpcError as error:
            raise Refused(error.code().name.lower(), error.details()) from None

    def close(self):
        self._channel.close()


class JsonClient:
    """Connect in JSON, with a new connection for each request."""

    def __init__(self, address, pb, pb_grpc):
        self._address, self._pb = address, pb

    def call(self, method, request):
        connection = http.client.HTTPConnection(self._address, timeout=SECONDS)
        try:
            headers = {"Content-Type": "application/json", "Connect-Protocol-Version": "1",
                       "Connect-Timeout-Ms": str(SECONDS * 1000)}
            connection.request("POST", f"/{SERVICE}/{method}", json_format.MessageToJson(request), headers)
            answer = connection.getresponse()
            body = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(body["code"], body["message"])
        return json_format.ParseDict(body, getattr(self._pb, f"{method}Response")())

    def close(self):
        pass


class BinaryClient:
    """Connect in binary, by its library."""

    PROTOCOL = "CONNECT"

    def __init__(self, address, pb, pb_grpc):
        pytest.importorskip("connectrpc", reason="connectrpc needs Python 3.11")
        from connectrpc.client import ConnectClientSync
        from connectrpc.compat import google_protobuf_binary_codec
        from connectrpc.errors import ConnectError
        from connectrpc.protocol import ProtocolType

        self._pb, self._error = pb, ConnectError
        self._client = ConnectClientSync(
            f"http://{address}", codec=google_protobuf_binary_codec(), protocol=ProtocolType[self.PROTOCOL],
            timeout_ms=SECONDS * 1000)

    def call(self, method, request):
        from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType

        level = IdempotencyLevel.NO_SIDE_EFFECTS if method.startswith("Get") else IdempotencyLevel.UNKNOWN
        info = MethodInfo(
            name=method, service_name=SERVICE, input=getattr(self._pb, f"{method}Request"),
            output=getattr(self._pb, f"{method}Response"), idempotency_level=level,
            stream_type=StreamType.UNARY)
        try:
            return self._client.execute_unary(request=request, method=info)
        except self._error as error:
            raise Refused(error.code.value, error.message) from None

    def close(self):
        self._client.close()


class WebClient(BinaryClient):
    """gRPC-Web, by the same library."""

    PROTOCOL = "GRPC_WEB"


CLIENTS = {"grpc": GrpcClient, "json": JsonClient, "binary": BinaryClient, "web": WebClient}


@contextmanager
def open_client(protocol, address, modules):
    client = CLIENTS[protocol](address, modules["older_pb2"], modules["older_pb2_grpc"])
    try:
        yield client
    finally:
        client.close()
