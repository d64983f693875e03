"""coupon-client as a package: complete, typed, and never different from the definitions."""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parent.parent.parent.parent
CLIENTS = ROOT / "clients"


def test_the_distributions_are_complete(source_distribution, wheel):
    with tarfile.open(source_distribution) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "README.md", "proto/proto/coupon/v1/coupon_service.proto"} <= names
    assert not any("internal" in name for name in names)
    archive = zipfile.ZipFile(wheel)
    names = set(archive.namelist())
    modules = {"py.typed", "v1/coupon_service_pb2.pyi", "_operations.py"}
    assert {f"coupon_client/{module}" for module in modules} <= names
    assert {name.split("/")[0] for name in names} == {"coupon_client", "coupon_client-0.1.0.dist-info"}
    licence = next(name for name in names if name.endswith("/LICENSE"))
    assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    metadata = next(archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    assert "License-Expression: Apache-2.0" in metadata


def test_the_messages_are_those_of_the_definitions(sdk, modules):
    from coupon_client.v1 import campaign_service_pb2, coupon_service_pb2, event_service_pb2

    for module in [campaign_service_pb2, coupon_service_pb2, event_service_pb2]:
        name = module.__name__.rsplit(".", 1)[1]
        theirs, ours = (descriptor_pb2.FileDescriptorProto() for _ in range(2))
        modules[name].DESCRIPTOR.CopyToProto(theirs)
        module.DESCRIPTOR.CopyToProto(ours)
        assert theirs == ours


def test_every_rpc_is_a_method_of_both_clients(sdk, modules):
    missing = []
    for name in ["campaign_service_pb2", "coupon_service_pb2", "event_service_pb2"]:
        for service in modules[name].DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                python = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()
                if not hasattr(sdk.Client, python) and not method.client_streaming:
                    missing.append(method.full_name)
    assert not missing
    methods = [[name for name in vars(kind) if not name.startswith("_")]
               for kind in (sdk.Client.__bases__[0], sdk.AsyncClient.__bases__[0])]
    assert methods[0] == methods[1]
    issue = inspect.signature(sdk.Client.issue_coupon)
    assert list(issue.parameters) == ["self", "campaign_id", "recipient", "request_id", "metadata", "timeout"]


def test_every_reason_has_an_exception(sdk):
    # Those of the older API are told by its clients.
    older = {"TOO_MANY_COUPONS"}
    reasons = set(re.findall(r'=> "([A-Z_]+)"', (ROOT / "proto/src/reason.rs").read_text())) - older
    assert len(reasons) > 15
    missing = reasons - set(sdk.CouponError.BY_REASON)
    assert not missing, "give them classes in clients/python/src/coupon_client/reasons.py"
    for reason, kind in sdk.CouponError.BY_REASON.items():
        assert kind.__name__ == reason.title().replace("_", "")
        assert getattr(sdk, kind.__name__) is kind


def test_errors_mean_the_same_as_for_the_rust_client(sdk):
    rust = (ROOT / "router/client/src/meaning.rs").read_text()

    def arms(function):
        """The reasons of a function's match, with what each leads to."""
        body = rust.split(f"fn {function}(", 1)[1].split("\n    }\n", 1)[0]
        found = re.findall(r"((?:Reason::\w+\s*\|?\s*)+)=> ([\w:]+)", body)
        return {name: value for names, value in found for name in re.findall(r"Reason::(\w+)", names)}

    by_name = {kind.__name__: kind for kind in sdk.CouponError.BY_REASON.values()}
    meanings = arms("of_reason")
    assert len(meanings) > 15
    for name in meanings.keys() & by_name.keys():
        meaning = re.sub(r"(?<!^)(?=[A-Z])", "_", meanings[name].removeprefix("Self::")).upper()
        assert by_name[name].MEANING.name == meaning.replace("NOT_STARTED", "REFUSED"), name
    settled = {name for name, value in arms("settles_earlier_attempts").items() if value == "true"}
    assert "Ended" in settled
    # It is safe to call an outcome unknown that is known, and not the other way round.
    assert {name for name in meanings.keys() & by_name.keys() if by_name[name].SETTLES} <= settled


def examples():
    """The Python of the README."""
    text = (CLIENTS / "python" / "README.md").read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_the_examples_of_the_readme_run(sdk, address, channel):
    assert examples()
    for example in examples():
        code = compile(example.replace("router-1.example:7000", address).replace("router-2.example:7000", address),
                       "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if inspect.CO_COROUTINE & code.co_flags:
            import asyncio
            asyncio.run(eval(code, {}))
        else:
            exec(code, {})


def test_the_types_are_strict(sdk, installed, tmp_path):
    pytest.importorskip("mypy")
    for number, example in enumerate(examples()):
        lines = example.splitlines()
        if "await" in example or "async " in example:
            imports = [line for line in lines if line.startswith(("import", "from"))]
            body = [line for line in lines if line not in imports]
            lines = [*imports, "async def example() -> None:", *(f"    {line}" for line in body)]
        (tmp_path / f"example_{number}.py").write_text("\n".join(lines))
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from coupon_client import Client\nClient('a:1').issue_coupon(campaign_id=1)\n")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", CLIENTS / "python" / "pyproject.toml",
         "--cache-dir", tmp_path / "cache", installed / "coupon_client", *sorted(tmp_path.glob("*.py"))],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(installed)}, capture_output=True, encoding="utf-8")
    complaints = checked.stdout.splitlines()[:-1]
    assert len(complaints) == 1 and complaints[0].startswith("wrong.py:2"), checked.stdout + checked.stderr


PLUGIN = f"""#!{sys.executable}
import json, os, sys
from google.protobuf.compiler import plugin_pb2
request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
answer = plugin_pb2.CodeGeneratorResponse()
content = json.dumps({{file.name: file.options.go_package for file in request.proto_file}})
for name in request.file_to_generate:
    answer.file.add(name=f"{{name}}.{{os.path.basename(sys.argv[0])}}", content=content)
sys.stdout.buffer.write(answer.SerializeToString())
"""


def test_buf_generates_for_typescript_and_go(tmp_path):
    buf_bin = pytest.importorskip("buf_bin")
    buf = Path(buf_bin.__file__).parent.parent / "bin" / "buf"
    # Plugins that say what they were asked, in place of those that a user installs.
    settings = (CLIENTS / "buf.gen.yaml").read_text()
    for name in re.findall(r"- local: (\S+)", settings):
        plugin = tmp_path / "bin" / name
        plugin.parent.mkdir(exist_ok=True)
        plugin.write_text(PLUGIN)
        plugin.chmod(0o755)
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "buf.gen.yaml").write_text(settings)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    generated = subprocess.run([buf, "generate"], cwd=tmp_path / "clients", env={**os.environ, "PATH": path},
                               capture_output=True, encoding="utf-8")
    assert generated.returncode == 0, generated.stderr
    target = tmp_path / "clients" / "gen"
    assert (target / "ts/coupon/v1/coupon_service.proto.protoc-gen-es").exists()
    assert (target / "ts/google/rpc/status.proto.protoc-gen-es").exists()
    packages = json.loads((target / "go/coupon/v1/coupon_service.proto.protoc-gen-go").read_text())
    assert all(packages.values()), "every file needs a Go package"
    assert packages["google/rpc/status.proto"].startswith("google.golang.org/genproto/")
    assert not list(target.rglob("*internal*"))
