"""Calls methods of a gRPC server with Google's own library, knowing nothing but what the server's reflection says.

stdin: {"target": "localhost:9000", "calls": [{"method": "ModelInfer", "request": {…}, "metadata": {…}, "timeout": 1.5}]},
requests in protobuf's JSON. stdout: one {"response": …, "metadata": …} or {"code": "NOT_FOUND", "details": "…"} per call.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

SERVICE = "inference.GRPCInferenceService"
FIELD = descriptor_pb2.FieldDescriptorProto


def reflection_messages():
    """The two messages of grpc.reflection.v1 that are needed, as far as they are needed."""
    file = descriptor_pb2.FileDescriptorProto(name="reflection.proto", package="r", syntax="proto3")

    def add(name, *fields):
        message = file.message_type.add(name=name)
        for field, number, kind, label, type_name in fields:
            message.field.add(name=field, number=number, type=kind, label=label, type_name=type_name)

    add("Request", ("file_containing_symbol", 4, FIELD.TYPE_STRING, FIELD.LABEL_OPTIONAL, None))
    add("Files", ("file_descriptor_proto", 1, FIELD.TYPE_BYTES, FIELD.LABEL_REPEATED, None))
    add("Response", ("file_descriptor_response", 4, FIELD.TYPE_MESSAGE, FIELD.LABEL_OPTIONAL, ".r.Files"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"r.{name}"))
        for name in ("Request", "Response")
    ]


def discover(channel):
    """The server's own description of its service."""
    request, response = reflection_messages()
    reflect = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    (answer,) = reflect(iter([request(file_containing_symbol=SERVICE)]))
    pool = descriptor_pool.DescriptorPool()
    for raw in answer.file_descriptor_response.file_descriptor_proto:
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString(raw))
    return pool.FindServiceByName(SERVICE)


def main():
    order = json.load(sys.stdin)
    with grpc.insecure_channel(order["target"]) as channel:
        service = discover(channel)
        for call in order["calls"]:
            method = service.methods_by_name[call["method"]]
            request = message_factory.GetMessageClass(method.input_type)()
            json_format.ParseDict(call.get("request", {}), request)
            invoke = channel.unary_unary(
                f"/{SERVICE}/{call['method']}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
            )
            metadata = tuple(call.get("metadata", {}).items())
            try:
                response, done = invoke.with_call(request, metadata=metadata, timeout=call.get("timeout"))
                answer = {
                    "response": json_format.MessageToDict(response, preserving_proto_field_name=True),
                    "metadata": {key: value for key, value in done.initial_metadata()},
                }
            except grpc.RpcError as error:
                answer = {"code": error.code().name, "details": error.details()}
            print(json.dumps(answer))


if __name__ == "__main__":
    main()
