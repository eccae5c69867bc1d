"""What the set-up promises of the environment."""

import re
import runpy
import subprocess
import sys
import tomllib
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
CHOOSE_LOCK = runpy.run_path(str(PROJECT / "choose_lock.py"))
LOCKS = (CHOOSE_LOCK["OVERRIDDEN"], CHOOSE_LOCK["PLAIN"])


def test_keras_is_the_legacy_one_in_any_process_of_the_environment():
    program = "import tensorflow as tf; print(tf.keras.layers.Layer.__module__)"
    output = subprocess.run(
        [sys.executable, "-c", program], env={"PATH": ""}, capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith("tf_keras."), f"tf.keras is {output.strip()}: `make setup` installs legacy_keras.pth"


@pytest.mark.parametrize(
    ("python", "glibc", "lock"),
    [
        ((3, 11), (2, 36), "requirements.lock"),
        ((3, 11), (2, 38), "requirements.lock"),
        ((3, 11), (), "requirements.lock"),
        ((3, 11), (2, 39), "requirements.glibc-2.39.lock"),
        ((3, 12), (2, 39), "requirements.glibc-2.39.lock"),
        ((3, 13), (2, 41), "requirements.glibc-2.39.lock"),
    ],
)
def test_the_lock_file_goes_by_python_and_glibc(python, glibc, lock):
    assert CHOOSE_LOCK["lock_file"](python, glibc) == lock
    assert (PROJECT / lock).is_file()


@pytest.mark.parametrize(
    ("python", "glibc"), [((3, 10), (2, 41)), ((3, 12), (2, 38)), ((3, 13), ()), ((3, 14), (2, 41))]
)
def test_an_environment_that_no_lock_file_is_for_is_refused(python, glibc):
    with pytest.raises(ValueError, match=r"expected Python 3\.11, or 3\.12 or 3\.13 on glibc 2\.39 or later, got"):
        CHOOSE_LOCK["lock_file"](python, glibc)


def test_the_plain_lock_file_has_what_tfx_wants_and_the_same_beam_and_tensorflow():
    old, new = (dict(re.findall(r"^([\w-]+)==(\S+)", (PROJECT / name).read_text(), re.MULTILINE)) for name in LOCKS)
    assert new["ml-metadata"] == new["tensorflow-data-validation"] == "1.21.0"
    for name in ("apache-beam", "tensorflow", "tf-keras", "tfx", "tensorflow-transform", "kfp", "protobuf", "pyarrow"):
        assert new[name] == old[name], name


def test_javas_fuser_is_of_the_same_beam():
    pom = (PROJECT / "tests" / "java_fuser" / "pom.xml").read_text()
    assert f"<version>{version('apache-beam')}</version>" in pom


def test_a_deprecated_use_in_our_own_modules_is_an_error_and_in_others_none():
    with pytest.raises(DeprecationWarning):
        warnings.warn_explicit("going", DeprecationWarning, "columns.py", 1, module="schema.columns")
    for module in ("tfx.dsl.component", "schematics", "my.schema"):
        warnings.warn_explicit("going", DeprecationWarning, "other.py", 1, module=module)


def test_every_package_is_guarded_against_deprecated_uses():
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]
    (guard,) = [line for line in settings["pytest"]["ini_options"]["filterwarnings"] if line.startswith("error")]
    assert set(re.findall(r"\w+", guard.split(":")[3])) == set(settings["importlinter"]["root_packages"])
