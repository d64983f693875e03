"""The package coupon-client, as pip would install it, and a router whose answers a test chooses."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent.parent


def build(kind, sources, target):
    """Builds a distribution the way pip does (PEP 517); returns its path."""
    script = f"import sys, setuptools.build_meta as backend; print(backend.build_{kind}(sys.argv[1]))"
    built = subprocess.run([sys.executable, "-c", script, target], cwd=sources, capture_output=True, encoding="utf-8")
    assert built.returncode == 0, built.stdout + built.stderr
    return target / built.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def source_distribution(tmp_path_factory):
    """What is uploaded to an index: built from a copy, because building writes into the sources."""
    clone, target = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT / "clients" / "python", clone / "clients" / "python")
    shutil.copytree(ROOT / "proto", clone / "proto")
    return build("sdist", clone / "clients" / "python", target)


@pytest.fixture(scope="session")
def wheel(source_distribution, tmp_path_factory):
    """A wheel, built of nothing but the source distribution."""
    sources, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    with tarfile.open(source_distribution) as archive:
        archive.extractall(sources)
    (unpacked,) = sources.iterdir()
    return build("wheel", unpacked, target)


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """A directory with the unpacked wheel."""
    directory = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(directory)
    sys.path.insert(0, str(directory))
    return directory


@pytest.fixture(scope="session")
def sdk(installed):
    """The module coupon_client."""
    import coupon_client
    assert Path(coupon_client.__file__).is_relative_to(installed)
    return coupon_client
