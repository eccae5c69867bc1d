"""The Dockerfile against what it builds from: no engine is needed to see that something was forgotten."""

import re
import runpy
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
LINES = re.sub(r"\\\n", " ", (PROJECT / "Dockerfile").read_text()).splitlines()
COPIED = [
    source for line in LINES if line.startswith("COPY ") and "--from" not in line for source in line.split()[1:-1]
]


def test_everything_that_is_copied_exists_and_is_not_kept_out_of_the_build():
    let_in = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in COPIED:
        assert (PROJECT / source).exists(), source
        assert source.rstrip("/") in let_in, f"{source} is not in .dockerignore"


def test_every_package_of_the_distribution_is_in_the_image():
    (packages,) = re.findall(r"^PACKAGES = (\(.*\))$", (PROJECT / "setup.py").read_text(), re.MULTILINE)
    assert {f"{name}/" for name in re.findall(r"\w+", packages)} <= set(COPIED)
    assert "legacy_keras.pth" in COPIED


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("FROM ")])
def test_bases_are_named_with_their_version(line):
    assert re.search(r":\S*\d", line.replace("${BEAM_VERSION}", version("apache-beam"))), line


def test_the_worker_has_the_beam_that_the_lock_file_pins():
    assert f"ARG BEAM_VERSION={version('apache-beam')}" in LINES


def test_nothing_runs_as_root():
    users = [line for line in LINES if line.startswith("USER ")]
    assert users == ["USER fulcrum"]
    assert LINES.index("USER fulcrum") < next(n for n, line in enumerate(LINES) if line.startswith("ENTRYPOINT"))


def test_a_compiler_is_where_the_requirements_are_built_and_not_in_the_image():
    *building, image = re.split(r"(?m)^(?=FROM )", "\n".join(LINES))
    (build,) = [stage for stage in building if "AS build" in stage]
    assert build.index(" g++") < build.index("uv pip install")
    assert "apt-get" not in image
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in image


def test_python_is_one_that_the_images_lock_file_is_for():
    bases = re.findall(r"^FROM python:(\d+)\.(\d+)-slim-trixie", "\n".join(LINES), re.MULTILINE)
    choose = runpy.run_path(str(PROJECT / "choose_lock.py"))
    # Debian 13 has glibc 2.41.
    assert {choose["lock_file"]((int(major), int(minor)), (2, 41)) for major, minor in bases} <= set(COPIED)
    assert len(set(bases)) == 1
    assert f"beam_python{'.'.join(bases[0])}_sdk" in "\n".join(LINES)
