"""Generates what follows from the definitions whenever the package is built, so that it never differs from them."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402


class BuildWithDefinitions(build_py):
    """Generates into the wheel, or into the source tree when that is installed as editable."""

    def run(self):
        super().run()
        root = HERE / "src" if self.editable_mode else Path(self.build_lib)
        generate.write(root / "coupon_client")


class SourcesWithDefinitions(sdist):
    """A source distribution brings the definitions along."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        shutil.copytree(generate.definitions(), Path(base_dir) / "proto", dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("internal", "*.rs", "*.toml", "*.yaml", "couponpb"))


setup(cmdclass={"build_py": BuildWithDefinitions, "sdist": SourcesWithDefinitions})
