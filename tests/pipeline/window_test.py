"""`fulcrum run --window`: refused before anything runs, or one text that the ingest component gets."""

from pathlib import Path

import pytest

from pipeline.cli.run_arguments import UsageError, prepare
from pipeline.pipeline import create_pipeline

SHORTVIDEO = Path(__file__).resolve().parents[2] / "schema" / "specs" / "shortvideo.yaml"


@pytest.fixture
def logs(tmp_path) -> Path:
    for day in ("2026-11-23", "2026-11-24", "2026-11-25"):
        folder = tmp_path / "logs" / day
        folder.mkdir(parents=True)
        (folder / "impressions-0.csv.gz").write_text(day)
    for table in ("users.csv", "items.csv"):
        (tmp_path / "logs" / table).write_text(table)
    return tmp_path / "logs"


def test_a_window_beyond_the_logs_is_refused_before_anything_runs(logs, tmp_path):
    for window, missing in (("4d:2026-11-25", "2026-11-22"), ("2d:2026-11-26", "2026-11-26")):
        with pytest.raises(UsageError, match=f"no files of {missing}; it has 2026-11-23 to 2026-11-25"):
            prepare(SHORTVIDEO, str(logs), tmp_path / "output", window=window)
    with pytest.raises(UsageError, match=r"window: expected DAYS:LAST such as 7d:2026-11-25 .*, got 'last week'"):
        prepare(SHORTVIDEO, str(logs), tmp_path / "output", window="last week")


def test_the_window_is_one_parameter_of_ingest(logs, tmp_path):
    prepared = prepare(SHORTVIDEO, str(logs), tmp_path / "output", window="2d:2026-11-25")
    ingest = next(
        node
        for node in create_pipeline(prepared.spec, prepared.config).components
        if node.id == "InteractionExampleGen"
    )
    assert ingest.exec_properties["window"] == "2d:2026-11-25"
    assert ingest.exec_properties["state"] == str(tmp_path / "output" / "state")


def test_a_changed_day_before_the_window_changes_what_the_cache_goes_by(logs, tmp_path):
    def fingerprint() -> str:
        return prepare(SHORTVIDEO, str(logs), tmp_path / "output", window="2d:2026-11-25").config.fingerprint

    before = fingerprint()
    assert fingerprint() == before
    (logs / "2026-11-23" / "impressions-1.csv.gz").write_text("late")
    assert fingerprint() != before
