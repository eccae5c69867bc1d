"""Rows that are no use to the spec, in a run: counted by reason, so that the counts add up to the files' rows."""

from pathlib import Path

import pytest

from ingest.errors import IngestError
from schema.spec import RankingSpec

T, DAY = 1_735_689_600, 86_400  # 2025-01-01
LOG = {"layout": "impressions", "files": "log*.csv", "user": "user", "item": "item", "timestamp": {"column": "at"}}
HEADER = "user,item,at,tab,click"
REPEATED = "duplicates: the row stands in the log before"


def _spec(**log) -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "videos",
            "log": LOG | log,
            "behaviours": [{"name": "clicked", "column": "click", "max_length": 2}],
            "tasks": [{"name": "click", "column": "click"}],
        }
    )


def _day(number: int) -> list[str]:
    at = T + number * DAY + 2_000
    return [f"u{i % 7},v{i % 5},{at + 60 * i},{('home', 'ad')[i % 4 == 3]},{int(i % 3 == 0)}" for i in range(60)]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three days; a row of the first stands there twice, and the second's and the third's folder repeat one before."""
    rows = [_day(number) for number in range(3)]
    late = f"u1,v1,{T + 2 * DAY - 600},home,1"
    rows[0] += [rows[0][0]]
    rows[1] += [late]
    rows[2] += [late, f"u2,v2,{T + 2 * DAY + 1},home,often"]
    for number, lines in enumerate(rows):
        folder = tmp_path / "logs" / f"2025-01-0{number + 1}"
        folder.mkdir(parents=True)
        (folder / "log.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return tmp_path / "logs"


def _examples(ingested, first: int = 0) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in ingested.rows if row["timestamp"][0] >= first)


def test_a_run_counts_every_row_of_its_files(logs, ingest_logs):
    where = {"column": "tab", "equals": "home"}
    run = ingest_logs(_spec(files="*/log*.csv", where=where, duplicates="drop"), logs, shards=2)
    log = run.summary["sources"]["log"]
    assert log["unused"] == {"where: not tab equals 'home'": 45, REPEATED: 2}
    assert log["rows"] == 184 == len(run.rows) + sum(log["unused"].values()) + sum(log["quarantined"].values())
    # Splits are exact shares of what is left.
    assert [len(rows) for rows in run.splits.values()] == [109, 13, 14]


def test_days_one_after_the_other_drop_what_one_run_drops(logs, ingest_logs, tmp_path):
    state = tmp_path / "state"
    single_run = ingest_logs(_spec(files="*/log*.csv", duplicates="drop"), logs)
    for window in ("1d:2025-01-02", "1d:2025-01-03"):
        last = ingest_logs(_spec(duplicates="drop"), logs, window=window, state=state)
    assert last.summary["sources"]["log"]["unused"] == {REPEATED: 1}
    assert _examples(last) == _examples(single_run, first=T + 2 * DAY)


def test_duplicates_stop_a_run_that_expects_none(logs, ingest_logs):
    with pytest.raises(
        IngestError, match=r"log.duplicates: 2 rows .*2025-01-01/log.csv row 62 is the same as .* row 2"
    ):
        ingest_logs(_spec(files="*/log*.csv", duplicates="error"), logs)


def _event_spec(**log) -> RankingSpec:
    layout = {"layout": "events", "event": "event", "impression": "view", "attribution_window": "6h"}
    behaviours = [{"name": "viewed", "event": "view", "max_length": 2}]
    tasks = [{"name": "like", "event": "like"}]
    return RankingSpec.model_validate(
        {"name": "videos", "log": LOG | layout | log, "behaviours": behaviours, "tasks": tasks}
    )


@pytest.fixture
def event_logs(tmp_path: Path) -> Path:
    """Three days with a view every half hour, of which two in three are liked a minute later."""
    for number in range(3):
        folder, at = tmp_path / "logs" / f"2025-01-0{number + 1}", T + number * DAY
        folder.mkdir(parents=True)
        views = [(f"u{i % 5},v{i % 3}", at + 1_800 * i) for i in range(48)]
        rows = [f"{who},{time},view" for who, time in views]
        rows += [f"{who},{time + 60},like" for i, (who, time) in enumerate(views) if i % 3]
        (folder / "log.csv").write_text("\n".join(["user,item,at,event", *rows]) + "\n")
    return tmp_path / "logs"


def test_a_run_counts_unripe_impressions_and_days_mask_what_one_run_masks(event_logs, ingest_logs, tmp_path):
    state = tmp_path / "state"
    single_run = ingest_logs(_event_spec(files="*/log*.csv"), event_logs)
    # The last row is a like at 23:31; views up to 17:31 are ripe, and 12 of each day's 48 are later.
    assert single_run.summary["feedback"]["like"]["unripe"] == 12
    assert [len(rows) for rows in single_run.splits.values()] == [106, 13, 13 + 12]
    masked = [row["timestamp"][0] for row in single_run.rows if row["space_like"] == [0.0]]
    assert sorted(masked) == [T + 2 * DAY + 1_800 * i for i in range(36, 48)]
    for window in ("1d:2025-01-02", "1d:2025-01-03"):
        last = ingest_logs(_event_spec(), event_logs, window=window, state=state)
        assert last.summary["feedback"]["like"]["unripe"] == 12
    assert _examples(last) == _examples(single_run, first=T + 2 * DAY)
    with_unripe = ingest_logs(_event_spec(files="*/log*.csv", unripe="keep"), event_logs)
    assert (with_unripe.summary["feedback"]["like"]["unripe"], len(with_unripe.rows)) == (0, 144)
    assert all(row["space_like"] == [1.0] for row in with_unripe.rows)
