"""What is pushed, under which version, and what a push that fails or is killed leaves."""

import resource
import time
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components import pusher


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files of a SavedModel; what they hold is of no account to a copy."""
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.data").write_bytes(b"x" * 10_000)
    return folder


@pytest.fixture
def push_to(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch):
    """`push_to(base, now)` runs the executor on a blessed model at a time, and returns the artifact."""
    monkeypatch.setattr(pusher.Executor, "GetModelPath", lambda self, inputs: str(model))

    def run(base: Path, now: int, blessed: bool = True) -> standard_artifacts.PushedModel:
        monkeypatch.setattr(time, "time", lambda: float(now))
        blessing, pushed = standard_artifacts.ModelBlessing(), standard_artifacts.PushedModel()
        blessing.uri, pushed.uri = str(tmp_path / "blessing"), str(tmp_path / f"pushed-{time.perf_counter_ns()}")
        blessing.set_int_custom_property("blessed", int(blessed))
        Path(pushed.uri).mkdir()
        pusher.Executor().Do({"model_blessing": [blessing]}, {"pushed_model": [pushed]}, {"destination": str(base)})
        return pushed

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_pushed_model_is_a_whole_copy(push_to, model, tmp_path):
    pushed = push_to(tmp_path / "serving", 1_700_000_000)
    assert files(tmp_path / "serving" / "1700000000") == files(model) == files(Path(pushed.uri))
    assert pushed.get_string_custom_property("pushed_version") == "1700000000"
    assert pushed.get_string_custom_property("pushed_destination") == str(tmp_path / "serving" / "1700000000")


def test_versions_rise_where_the_clock_goes_backwards_or_stands(push_to, tmp_path):
    versions = [
        push_to(tmp_path / "serving", now).get_string_custom_property("pushed_version") for now in (1_000, 1_000, 400)
    ]
    assert versions == ["1000", "1001", "1002"]


def test_a_model_that_is_not_blessed_is_not_pushed(push_to, tmp_path):
    pushed = push_to(tmp_path / "serving", 1_000, blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()


def test_a_copy_that_a_killed_push_left_is_no_model_and_the_next_one_is_newer(push_to, model, tmp_path):
    half = tmp_path / "serving" / "2000" / "variables"
    half.mkdir(parents=True)
    (half / "variables.data").write_bytes(b"x" * 100)
    pushed = push_to(tmp_path / "serving", 1_000)
    assert pushed.get_string_custom_property("pushed_version") == "2001"
    assert files(tmp_path / "serving" / "2001") == files(model)
    # The graph, without which a folder is no model, comes last.
    assert not (tmp_path / "serving" / "2000" / "saved_model.pb").exists()


def test_a_push_that_is_killed_as_it_writes_the_graph_leaves_no_model(push_to, model, tmp_path, monkeypatch):
    def killed(source: str, destination: str) -> None:
        assert Path(source).read_bytes() == b"graph"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pusher.fileio, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            push_to(tmp_path / "serving", 1_000)
    left = files(tmp_path / "serving" / "1000")
    assert "saved_model.pb" not in left
    assert {name for name in left if not name.endswith(".part")} == files(model).keys() - {"saved_model.pb"}
    push_to(tmp_path / "serving", 1_000)
    assert files(tmp_path / "serving" / "1001") == files(model)


def test_a_full_disk_leaves_no_half_a_model(push_to, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))
    try:
        with pytest.raises(Exception, match=r"(?i)large|space|exhausted"):
            push_to(tmp_path / "serving", 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "serving" / "1000").exists()
