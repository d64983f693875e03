"""A client that knows nothing but the address, as grpcurl is: reflection tells it the rest."""

import uuid

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SECONDS = 20

PUBLIC = {"coupon.v1.CampaignService", "coupon.v1.CouponService", "coupon.v1.EventService", "couponpb.CouponService",
          "grpc.health.v1.Health"}


@pytest.fixture(scope="module")
def pool(channel):
    return descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))


def call(channel, pool, service, method, request):
    """What `grpcurl -d REQUEST ADDRESS SERVICE/METHOD` does; returns JSON."""
    descriptor = pool.FindServiceByName(service).FindMethodByName(method)
    message = message_factory.GetMessageClass(descriptor.input_type)
    answer = message_factory.GetMessageClass(descriptor.output_type)
    stub = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=message.SerializeToString, response_deserializer=answer.FromString)
    response = stub(json_format.ParseDict(request, message(), descriptor_pool=pool), timeout=SECONDS)
    return json_format.MessageToDict(response, descriptor_pool=pool)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_the_public_services_are_listed(channel, version):
    # The messages of both versions are the same on the wire.
    stub = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub(iter([question]), timeout=SECONDS)
    listed = {service.name for service in answer.list_services_response.service}
    assert PUBLIC <= listed
    assert not any("internal" in name for name in listed), "internal services are nobody's business"


def test_a_coupon_is_issued(channel, pool):
    campaign_id = f"reflection-{uuid.uuid4()}"
    created = call(channel, pool, "coupon.v1.CampaignService", "CreateCampaign",
                   {"campaignId": campaign_id, "displayName": "By reflection", "quota": "1"})
    assert created["campaign"]["campaignId"] == campaign_id

    issued = call(channel, pool, "coupon.v1.CouponService", "IssueCoupon",
                  {"campaignId": campaign_id, "recipient": "alice"})
    coupon = issued["coupon"]
    assert (coupon["sequence"], coupon["recipient"]) == ("1", "alice")
    assert coupon["state"] == "COUPON_STATE_ISSUED"
    assert len(coupon["code"]) == 10

    with pytest.raises(grpc.RpcError) as sold_out:
        call(channel, pool, "coupon.v1.CouponService", "IssueCoupon",
             {"campaignId": campaign_id, "recipient": "bob"})
    assert sold_out.value.code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("service", [
    "", "coupon.v1.CampaignService", "coupon.v1.CouponService", "coupon.v1.EventService", "couponpb.CouponService"])
def test_health_says_serving(channel, pool, service):
    answer = call(channel, pool, "grpc.health.v1.Health", "Check", {"service": service})
    assert answer == {"status": "SERVING"}
