"""Daily folders read as a rolling window, day by day, by the component's executor."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import yaml

from ingest.errors import IngestError
from ingest.sources import SourceFile, match_files
from ingest.windows.window import Window, files_to_read, window_fingerprint
from schema.spec import RankingSpec
from simulation.logs import simulate

SHORTVIDEO = Path(__file__).resolve().parents[3] / "schema" / "specs" / "shortvideo.yaml"
DAY_MS, FIRST = 86_400_000, 1_767_225_600_000  # 2026-01-01


def _spec(**log) -> RankingSpec:
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    # Short sequences, so that what is carried on has an end.
    behaviours = [{**behaviour, "max_length": 5} for behaviour in declared["behaviours"]]
    # What statistics carry on is tested beside this file.
    changed = {"behaviours": behaviours, "log": {**declared["log"], "request": None, **log}}
    return RankingSpec.model_validate({**declared, **changed, "statistics": None, "slices": []})


@pytest.fixture(scope="module")
def five_days(tmp_path_factory) -> Path:
    """Simulated logs from 2026-01-01 to 2026-01-05, a folder a day, the tables beside them."""
    logs = tmp_path_factory.mktemp("daily")
    simulate(logs, users=40, impressions=1_500, seed=3, days=5, daily=True)
    for file in logs.glob("*/impressions-*.csv.gz"):
        file.rename(file.with_name("impressions-0.csv.gz"))
    return logs


@pytest.fixture
def logs(five_days, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(five_days, tmp_path / "logs"))


def _from_day(rows: list[dict], day: int) -> list[str]:
    later = (row for row in rows if row["timestamp"][0] >= FIRST + (day - 1) * DAY_MS)
    return sorted(repr(sorted(row.items())) for row in later)


def _read(ingested) -> int:
    return ingested.summary["sources"]["log"]["rows"]


def test_day_by_day_the_examples_are_those_of_one_run_over_everything(five_days, ingest_logs, tmp_path):
    state = tmp_path / "state"
    single_run = ingest_logs(_spec(files="*/impressions-*.csv.gz"), five_days)
    by_day, files_read = {}, []
    for window in ("1d:2026-01-01", "2d:2026-01-02", "3d:2026-01-03", "3d:2026-01-04", "3d:2026-01-05"):
        last = ingest_logs(_spec(), five_days, window=window, state=state)
        files_read.append(_read(last))
        by_day.update(last.summary["window"]["examples"])
    assert _from_day(last.rows, 1) == _from_day(single_run.rows, 3)
    # Sequences reach back to before the window.
    assert any(
        row["timestamp"][0] - age * 1000 < FIRST + 2 * DAY_MS for row in last.rows for age in row["watched_age_s"]
    )

    # From the third day on a run reads three days and what was carried on, however many days there were before.
    rows = list(by_day.values())
    assert files_read == [sum(rows[max(0, day - 2) : day + 1]) for day in range(5)]
    assert 0 < last.summary["window"]["carried_rows"] < 40 * 3 * 5

    # A window that nothing was carried on to reads all days before it, once.
    late = ingest_logs(_spec(), five_days, window="2d:2026-01-05", state=tmp_path / "other")
    assert _read(late) == 1_500
    assert _from_day(late.rows, 1) == _from_day(single_run.rows, 4)


def _bytes(ingested) -> dict[str, bytes]:
    folder = Path(ingested.examples.uri)
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.gz"))}


def test_a_day_run_again_or_after_a_kill_is_the_same_and_changes_nothing(logs, ingest_logs, tmp_path):
    state = tmp_path / "state"
    ingest_logs(_spec(), logs, window="2d:2026-01-02", state=state)
    first = _bytes(ingest_logs(_spec(), logs, window="2d:2026-01-03", state=state))
    contents = {file: file.read_bytes() for file in state.glob("*/2026-01-03/**/*") if file.is_file()}
    assert len(contents) == 2

    # A killed run leaves parts without a manifest: neither is what it began on taken, nor what it wrote.
    for manifest in state.glob("*/*/*/manifest.json"):
        manifest.unlink()
        (manifest.parent / "part-00000-of-00001.parquet").write_bytes(b"half")
    assert _bytes(ingest_logs(_spec(), logs, window="2d:2026-01-03", state=state)) == first
    assert {file: file.read_bytes() for file in state.glob("*/2026-01-03/**/*") if file.is_file()} == contents

    # Days that were in every window are as they were: the analysis of a day is kept by what its files hold.
    later = _bytes(ingest_logs(_spec(), logs, window="3d:2026-01-04", state=state))
    same = [name for name in first if name.startswith("Split-train/2026-01-02")]
    assert same
    assert all(later[name] == first[name] for name in same)


def test_earlier_days_may_be_gone_but_not_changed(logs, ingest_logs, tmp_path):
    state = tmp_path / "state"
    ingest_logs(_spec(), logs, window="2d:2026-01-03", state=state)
    first = _bytes(ingest_logs(_spec(), logs, window="2d:2026-01-04", state=state))
    read = window_fingerprint(_spec(), str(logs), "2d:2026-01-04")

    path = logs / "2026-01-01" / "impressions-0.csv.gz"
    content = path.read_bytes()
    shutil.copy(logs / "2026-01-05" / "impressions-0.csv.gz", path)
    with pytest.raises(IngestError, match="not a time of the daily folder"):
        ingest_logs(_spec(), logs, window="2d:2026-01-04", state=state)
    assert window_fingerprint(_spec(), str(logs), "2d:2026-01-04") != read

    path.write_bytes(content)
    assert _bytes(ingest_logs(_spec(), logs, window="2d:2026-01-04", state=state)) == first
    shutil.rmtree(path.parent)
    again = ingest_logs(_spec(), logs, window="2d:2026-01-04", state=state)
    assert _bytes(again) == first
    assert again.summary["sources"]["log"]["files"] == 2


def test_a_day_has_its_own_tables(logs, ingest_logs, tmp_path):
    for number, country in ((1, "FR"), (2, "BR")):
        folder = logs / f"2026-01-0{number}"
        users = (logs / "users.csv").read_text().splitlines()
        people = [",".join([line.split(",")[0], country, *line.split(",")[2:]]) for line in users[1:]]
        (folder / "users.csv").write_text("\n".join([users[0], *people]) + "\n")
    ingested = ingest_logs(_spec(), logs, window="2d:2026-01-02", state=tmp_path / "state")
    day_countries = {(date.fromtimestamp(row["timestamp"][0] / 1000).day, row["country"][0]) for row in ingested.rows}
    assert day_countries - {(1, "__missing__"), (2, "__missing__")} == {(1, "FR"), (2, "BR")}

    (logs / "2026-01-02" / "users.csv").unlink()
    with pytest.raises(IngestError, match=r"users\.files: .* has daily tables, and none of 2026-01-02"):
        ingest_logs(_spec(), logs, window="2d:2026-01-02", state=tmp_path / "state")


def _remove_a_day(logs: Path) -> None:
    shutil.rmtree(logs / "2026-01-04")


def _copy_a_day(logs: Path) -> None:
    shutil.copytree(logs / "2026-01-03", logs / "2026-01-04", dirs_exist_ok=True)


def _copy_a_file(logs: Path) -> None:
    shutil.copy(logs / "2026-01-04/impressions-0.csv.gz", logs / "2026-01-04/impressions-1.csv.gz")


def _copy_a_folder(logs: Path) -> None:
    shutil.copytree(logs / "2026-01-04", logs / "2026-01-04-copy")


def _swap_days(logs: Path) -> None:
    (logs / "2026-01-04").rename(logs / "x")
    (logs / "2026-01-05").rename(logs / "2026-01-04")
    (logs / "x").rename(logs / "2026-01-05")


@pytest.mark.parametrize(
    ("change", "window", "message"),
    [
        (
            _remove_a_day,
            "3d:2026-01-05",
            r"the days 2026-01-03 to 2026-01-05 are wanted, and .* no files of 2026-01-04",
        ),
        (_copy_a_day, "3d:2026-01-05", r"holds the same as .*2026-01-03/.*; a day or a file that stands twice"),
        (_copy_a_file, "3d:2026-01-05", r"impressions-1\.csv\.gz: holds the same as .*impressions-0"),
        (_copy_a_folder, "3d:2026-01-05", r"2026-01-04-copy: expected a folder named by its day alone"),
        (_swap_days, "3d:2026-01-05", r"rows .* can't be used.*: not a time of the daily folder"),
        (None, "3d:2026-01-06", r"no files of 2026-01-06; it has 2026-01-01 to 2026-01-05"),
        (None, "9d:2026-01-05", r"no files of 2025-12-28, .*; it has 2026-01-01 to 2026-01-05"),
        (None, "7:2026-01-05", r"window: expected DAYS:LAST such as 7d:2026-11-25 .*, got '7:2026-01-05'"),
        (None, "7d:2026-02-30", r"window: expected DAYS:LAST"),
    ],
)
def test_a_window_that_the_logs_do_not_hold_is_refused(
    logs, ingest_logs, tmp_path, change: Callable[[Path], None] | None, window: str, message: str
):
    if change:
        change(logs)
    with pytest.raises(IngestError, match=message):
        ingest_logs(_spec(), logs, window=window, state=tmp_path / "state")


def test_a_day_without_rows_is_a_file_that_says_so(logs, ingest_logs, tmp_path):
    for day in ("2026-01-02", "2026-01-03"):
        (logs / day / "impressions-0.csv.gz").unlink()
        header = "timestamp,user_id,video_id,tab,network,play_ms,duration_ms,clicked,like,share,comment\n"
        (logs / day / "impressions-0.csv").write_text(header)
    spec = _spec(files="impressions-*")
    ingested = ingest_logs(spec, logs, window="4d:2026-01-04", state=tmp_path / "state")
    assert list(ingested.summary["window"]["examples"]) == ["2026-01-01", "2026-01-04"]


def test_an_empty_window_reads_all_files_at_once(five_days, ingest_logs, tmp_path):
    # As a compiled pipeline gives it, whose parameters are texts.
    ingested = ingest_logs(_spec(files="2026-01-01/impressions-*"), five_days, window="", state=tmp_path / "state")
    assert "window" not in ingested.summary
    assert not (tmp_path / "state").exists()


def _days(files: tuple[SourceFile, ...], source: str) -> list[int | None]:
    return [file.day and file.day.day for file in files if file.source == source]


def test_who_looks_at_daily_logs_reads_all_days_or_those_of_a_window_or_those_up_to_a_moment(logs):
    spec, hour = _spec(), DAY_MS // 24
    assert _days(files_to_read(spec, str(logs)), "log") == [1, 2, 3, 4, 5]
    assert _days(files_to_read(spec, str(logs), "2d:2026-01-04"), "log") == [3, 4]
    # The next day's folder may hold rows of the last hour.
    noon, late = FIRST + DAY_MS + 12 * hour, FIRST + DAY_MS + 23 * hour
    assert _days(files_to_read(spec, str(logs), at=noon), "log") == [1, 2]
    assert _days(files_to_read(spec, str(logs), at=late), "log") == [1, 2, 3]
    for day in (1, 2, 3, 4, 5):
        shutil.copy(logs / "users.csv", logs / f"2026-01-0{day}")
    assert _days(files_to_read(spec, str(logs), "2d:2026-01-03", noon), "log") == [2]
    assert _days(files_to_read(spec, str(logs), at=late), "users") == [1, 2]
    assert _days(files_to_read(spec, str(logs), at=late), "items") == [None]
    with pytest.raises(IngestError, match="no day up to 2025-12-31 is among those to read, 2026-01-01 to 2026-01-05"):
        files_to_read(spec, str(logs), at=FIRST - 1)
    with pytest.raises(IngestError, match="no files of 2026-01-06; it has 2026-01-01 to 2026-01-05"):
        files_to_read(spec, str(logs), "2d:2026-01-06")


def test_daily_logs_without_a_window_are_refused_with_what_they_need(five_days):
    with pytest.raises(IngestError, match=r"but there is .*/impressions-0\.csv\.gz: daily folders need a window"):
        match_files(_spec(), str(five_days))
    # A pattern that names the folders reads them as any others.
    assert _days(files_to_read(_spec(files="2026-01-0*/impressions-*"), str(five_days)), "log") == [None] * 5


def test_a_window_holds_both_its_ends():
    window = Window.parse("7d:2026-11-25")
    assert (window.first, window.last) == (date(2026, 11, 19), date(2026, 11, 25))
    assert str(window) == "7d:2026-11-25"
