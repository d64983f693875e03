"""Generates what follows from the definitions of coupon.v1: python generate.py [PACKAGE]

Writes into the directory of the package, by default src/coupon_client:

- v1/: the messages, made by protoc, and their types
- _operations.py and _aio_operations.py: a method for every RPC

A method takes the fields of its request by name. Timestamps are `datetime`, durations `timedelta`, masks the paths
of fields. Lists are iterators over all pages (AIP-158). So a new RPC is a method without a line written here, unless
the client streams to the server: such RPCs are left out.
"""

import re
import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent

# Methods written by hand, in client.py and aio.py.
BY_HAND = {"BatchIssueCoupons", "StreamEvents", "WatchCampaign"}

Field = descriptor_pb2.FieldDescriptorProto

SCALARS = {
    Field.TYPE_BOOL: ("bool", "False"),
    Field.TYPE_BYTES: ("bytes", 'b""'),
    Field.TYPE_DOUBLE: ("float", "0.0"),
    Field.TYPE_INT32: ("int", "0"),
    Field.TYPE_INT64: ("int", "0"),
    Field.TYPE_STRING: ("str", '""'),
    Field.TYPE_UINT32: ("int", "0"),
    Field.TYPE_UINT64: ("int", "0"),
}

# Well-known messages: the type that a method takes, and the function of _fields.py that converts it.
CONVERTED = {
    ".google.protobuf.Duration": ("timedelta", "duration"),
    ".google.protobuf.FieldMask": ("Iterable[str]", "field_mask"),
    ".google.protobuf.Timestamp": ("datetime", "timestamp"),
}


def definitions():
    """The directory `proto`: that of a source distribution, or else that of the repository."""
    for directory in [HERE / "proto", HERE.parent.parent / "proto"]:
        if (directory / "proto" / "coupon" / "v1").is_dir():
            return directory
    raise SystemExit("the definitions of coupon.v1 are missing: build in a clone of the repository")


def write(package):
    """Generates into the directory of the package."""
    with tempfile.TemporaryDirectory() as work:
        files = compile_definitions(Path(work))
        messages = package / "v1"
        messages.mkdir(parents=True, exist_ok=True)
        for source in sorted(Path(work, "coupon", "v1").iterdir()):
            (messages / source.name).write_text(relocated(source.read_text("utf-8")), "utf-8")
    (messages / "__init__.py").write_text(exports(files), "utf-8")
    methods = [method for file in files for method in methods_of(file)]
    (package / "_operations.py").write_text(operations(methods, is_async=False), "utf-8")
    (package / "_aio_operations.py").write_text(operations(methods, is_async=True), "utf-8")


def compile_definitions(work):
    """Runs protoc; returns the descriptors of the files of coupon.v1, with their comments."""
    root = definitions()
    names = sorted(f"coupon/v1/{path.name}" for path in (root / "proto/coupon/v1").glob("*.proto"))
    includes = [root / "proto", root / "third_party", Path(grpc_tools.__file__).parent / "_proto"]
    status = protoc.main([
        "protoc", *(f"-I{include}" for include in includes), f"--python_out={work}", f"--pyi_out={work}",
        f"--descriptor_set_out={work}/set", "--include_source_info", *names])
    if status != 0:
        raise SystemExit("the definitions of coupon.v1 do not compile")
    described = descriptor_pb2.FileDescriptorSet.FromString((work / "set").read_bytes())
    return list(described.file)


def relocated(text):
    """Generated code as a part of this package, so that no top-level package `coupon` is installed."""
    text = re.sub(r"^from coupon\.v1 import", "from coupon_client.v1 import", text, flags=re.MULTILINE)
    return re.sub(r"'coupon\.v1\.(\w+_pb2)'", r"'coupon_client.v1.\1'", text)


def exports(files):
    lines = ['"""The messages of coupon.v1."""', ""]
    for file in files:
        names = [message.name for message in file.message_type]
        for enum in file.enum_type:
            names += [enum.name, *(value.name for value in enum.value)]
        lines += [f"from .{Path(file.name).stem}_pb2 import {name} as {name}" for name in names]
    return "\n".join(lines) + "\n"


class Method:
    """An RPC, its messages and what the definitions say about them."""

    def __init__(self, service, method, request, response, docs):
        self.name = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()
        self.path = f"/{service}/{method.name}"
        self.is_stream = method.server_streaming
        self.request, self.response, self.docs = request, response, docs
        names = [field.name for field in request.field]
        assert "timeout" not in names, f"{request.name} has a field that methods need for themselves"
        # Names of shards that cannot be reached are no items.
        repeated = [field for field in response.field
                    if field.label == Field.LABEL_REPEATED and field.name != "unreachable"]
        self.is_paged = "page_token" in names
        # What an iterator is over.
        self.items = repeated[0] if len(repeated) == 1 else None


def methods_of(file):
    """The methods of a file's services, in order."""
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    # Fields of the descriptor: 4 messages, 6 services; of a message 2 fields; of a service 2 methods.
    messages = {f".{file.package}.{message.name}": (number, message)
                for number, message in enumerate(file.message_type)}
    for service_number, service in enumerate(file.service):
        for number, method in enumerate(service.method):
            if method.client_streaming or method.name in BY_HAND:
                continue
            place, request = messages[method.input_type]
            _, response = messages[method.output_type]
            docs = {field.name: comments.get((4, place, 2, index), "")
                    for index, field in enumerate(request.field)}
            docs[""] = comments.get((6, service_number, 2, number), "")
            yield Method(f"{file.package}.{service.name}", method, request, response, docs)


def parameter(field, message):
    """The type of a field's parameter, its default, and the value for the message's constructor."""
    if field.label == Field.LABEL_REPEATED:
        is_map = any(nested.options.map_entry and field.type_name.endswith(f".{nested.name}")
                     for nested in message.nested_type)
        if is_map:
            return "Mapping[str, str] | None", "None", field.name
        kind = SCALARS[field.type][0] if field.type in SCALARS else public(field.type_name)
        return f"Iterable[{kind}]", "()", field.name
    if field.type in SCALARS:
        return (*SCALARS[field.type], field.name)
    if field.type_name in CONVERTED:
        kind, function = CONVERTED[field.type_name]
        return f"{kind} | None", "None", f"_fields.{function}({field.name})"
    return f"{public(field.type_name)} | None", "None", field.name


def public(type_name):
    package, name = type_name.rsplit(".", 1)
    assert package == ".coupon.v1", f"{type_name} has no Python type in this package"
    return f"v1.{name}"


def operations(methods, is_async):
    prefix = "Async" if is_async else ""
    kind = "awaited" if is_async else "blocking"
    lines = [
        f'"""A method for every RPC of coupon.v1, {kind}. Generated: see generate.py."""',
        "", "from __future__ import annotations", "",
        "from collections.abc import AsyncIterator, Iterable, Iterator, Mapping",
        "from datetime import datetime, timedelta", "",
        "from . import _fields, v1",
        f"from ._{'aio_' if is_async else ''}caller import {prefix}Caller",
        "from ._method import Method", "", "",
        f"class {prefix}Operations({prefix}Caller):",
        f'    """The RPCs of coupon.v1, {kind}."""',
    ]
    for method in methods:
        lines += ["", *definition(method, is_async)]
    return "\n".join(lines) + "\n"


def definition(method, is_async):
    """The lines of a method."""
    fields = [field for field in method.request.field if not (method.is_paged and field.name == "page_token")]
    parameters = [(field.name, *parameter(field, method.request)) for field in fields]
    is_iterator = method.is_stream or method.is_paged
    answer = f"v1.{method.response.name}"
    kind = public(method.items.type_name) if is_iterator and method.items else answer
    if is_iterator:
        kind = f"{'Async' if is_async else ''}Iterator[{kind}]"
    yield f"    {'async ' if is_async and not is_iterator else ''}def {method.name}("
    yield "        self,"
    yield "        *,"
    for name, type_name, default, _ in parameters:
        yield f"        {name}: {type_name} = {default},"
    yield "        timeout: float | None = None,"
    yield f"    ) -> {kind}:"
    yield from documentation(method, [name for name, *_ in parameters])
    yield f'        method = Method("{method.path}", v1.{method.request.name}, {answer})'
    yield f"        request = v1.{method.request.name}("
    for name, _, _, value in parameters:
        yield f"            {name}={value},"
    yield "        )"
    if method.is_paged:
        yield f"        return self._pages(method, request, timeout, lambda page: page.{method.items.name})"
    elif method.is_stream and method.items:
        yield f"        return self._stream(method, request, timeout, lambda part: part.{method.items.name})"
    elif method.is_stream:
        yield "        return self._stream(method, request, timeout, lambda part: (part,))"
    else:
        yield f"        return {'await ' if is_async else ''}self._call(method, request, timeout)"


def documentation(method, names):
    """The lines of a docstring: the comments of the definitions."""
    lines = [line.removeprefix(" ").rstrip() for line in method.docs[""].splitlines()]
    text = escaped("\n".join(lines)).strip().splitlines()
    yield f'        """{text[0] if text else method.name}'
    for line in text[1:]:
        yield f"        {line}" if line else ""
    yield ""
    for name in names:
        words = " ".join(escaped(method.docs[name]).split())
        if name == "request_id":
            words = words.replace("Empty: the server makes one", "Empty: this client makes one")
        yield f"        {name}: {words}"
    if method.is_stream:
        yield "        timeout: The maximum time for the whole stream, in seconds. None: as long as it takes."
    elif method.is_paged:
        yield "        timeout: The maximum time for a page with its retries, in seconds. None: that of the policy."
    else:
        yield "        timeout: The maximum time for the call with its retries, in seconds. None: that of the policy."
    yield '        """'


def escaped(text):
    """A text that may stand in a docstring."""
    return text.replace("\\", r"\\").replace('"""', r'\"\"\"')


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "src" / "coupon_client")
