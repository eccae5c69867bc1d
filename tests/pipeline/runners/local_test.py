"""The lines of a run, made of TFX's own log records: a release of TFX that says it otherwise fails here."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import tfx.v1 as tfx
from rich.console import Console

from pipeline.runners.local import CACHED, FINISHED, RUNNING, StageError, run


@tfx.dsl.components.component
def Breakable(works: tfx.dsl.components.Parameter[int]) -> None:  # noqa: N802
    if not works:
        raise ValueError("it broke")


@pytest.fixture(autouse=True)
def _native_stderr() -> Iterator[None]:
    """A run sends it to its log file for good."""
    before = os.dup(2)
    yield
    os.dup2(before, 2)
    os.close(before)


def lines_of_a_run(folder: Path, works: int = 1) -> list[str]:
    text = io.StringIO()
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="tiny",
        pipeline_root=str(folder / "artifacts"),
        components=[Breakable(works=works)],
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(folder / "metadata.sqlite")
        ),
    )
    run(pipeline, Console(file=text, width=150), folder / "logs" / "run.log")
    return text.getvalue().splitlines()


def test_a_stage_is_a_line_with_its_seconds_and_says_whether_it_was_cached(tmp_path):
    (first,) = lines_of_a_run(tmp_path)
    assert first.split()[:2] == ["1/1", "Breakable"]
    assert first.endswith(" s")
    (again,) = lines_of_a_run(tmp_path)
    assert again.endswith(" s  cached")
    log = (tmp_path / "logs" / "run.log").read_text()
    for message in (RUNNING % "Breakable", FINISHED % "Breakable", CACHED.partition("%")[0]):
        assert message in log


def test_a_stage_that_fails_is_named(tmp_path):
    with pytest.raises(StageError, match=r"Breakable: .*it broke") as error:
        lines_of_a_run(tmp_path, works=0)
    assert error.value.stage == "Breakable"
