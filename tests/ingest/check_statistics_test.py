"""What `check` says of statistics: figures by hand on a tiny log, and each finding where it belongs."""

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from ingest.check import check
from ingest.check_report import CheckReport, StatisticSample
from ingest.statistics.alone import Alone, alone, area_under_curve, best, rank_correlation
from pipeline.cli.check_output import render
from pipeline.cli.check_statistics_output import slot_rows
from pipeline.cli.main import app
from schema.spec import RankingSpec
from schema.statistics import statistics_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOUR, DAY = 3_600, 86_400
START = 1_700_006_400  # 2023-11-15 00:00 UTC
BASE = {
    "name": "videos",
    "log": {
        "layout": "impressions",
        "files": "*.csv",
        "user": "user",
        "item": "item",
        "timestamp": {"column": "at"},
    },
    "features": [{"name": "tab", "source": "log", "kind": "categorical"}],
    "behaviours": [{"name": "liked", "column": "like", "delay": "5m"}],
    "tasks": [{"name": "like", "column": "like"}],
    "split": {"eval": 0.25, "test": 0.25},
}
Row = tuple[str, str, int, str, int]


def spec(*by, log: dict | None = None, **more) -> RankingSpec:
    section = {"by": list(by), "delay": "5m", "half_lives": []}
    return RankingSpec.model_validate(BASE | {"statistics": section, "log": BASE["log"] | (log or {})} | more)


def write(path: Path, rows: list[Row]) -> None:
    """Rows are user, item, seconds after START, tab, like."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "at", "tab", "like"])
        writer.writerows([user, item, START + at, tab, like] for user, item, at, tab, like in rows)


def checked(folder: Path, rows: list[Row], declared: RankingSpec, sample: int = 10_000) -> CheckReport:
    write(folder / "log.csv", rows)
    return check(declared, str(folder), sample, now=NOW)


def told(report: CheckReport, where: str = "statistic", severity: str = "warning") -> str:
    """The findings on statistics, of a severity, as one text."""
    lines = [f"{finding.where}: {finding.message}" for finding in report.findings if finding.severity == severity]
    return "\n".join(line for line in lines if line.startswith(where))


def hourly(item: str, rows: int, since: int = 0) -> list[Row]:
    """An impression an hour, every second of them liked."""
    return [("u", item, since + hour * HOUR, "home", hour % 2) for hour in range(rows)]


TINY: list[Row] = [
    ("u", "a", 0, "home", 1),
    ("v", "a", 2 * HOUR, "", 0),
    ("u", "b", 3 * HOUR, "home", 1),
    ("v", "a", 5 * HOUR, "deep", 1),
    ("u", "a", 7 * HOUR, "home", 0),
]


def test_the_figures_of_a_tiny_log_are_those_of_hand(tmp_path):
    report = checked(tmp_path, TINY, spec("item", "tab"))
    item, tab = report.statistics
    assert isinstance(item, StatisticSample)
    # a is seen 0, 1, 2, 3 times before, b never: the median of 0, 1, 0, 2, 3 is 1.
    assert (item.keys, item.missing, item.seen, item.impressions, item.hottest) == (2, 0.0, 0.6, 1.0, 0.8)
    # home: 0, 1, 2 before; deep: 0; the second row has none.
    assert (tab.keys, tab.missing, tab.seen, tab.impressions) == (2, pytest.approx(0.2), 0.5, 0.5)
    assert tab.hottest == 0.75
    # The later half are the last three, of likes 1, 1, 0. With p = .6 and m = 20: b 12/20, a (1 + 12)/22 and
    # (2 + 12)/23: .6, .5909 and .6087, so that the one without a like is above both.
    assert item.alone["like"] == Alone("like", "lifetime", True, 0.0, 1)
    assert report.statistics_rows == "all 5 rows of the log"


def test_delay_and_requests_are_those_of_ingest(tmp_path):
    by = {"keys": "item", "delay": "2h"}
    # Those at 5 h and 7 h see the rows before 3 h and 5 h: two each.
    assert checked(tmp_path, TINY, spec(by)).statistics[0].seen == pytest.approx(0.4)


def test_the_state_grows_by_the_new_keys_of_the_last_quarter(tmp_path):
    # An item a day for eight days: of the last quarter, two days, one or two are new.
    rows: list[Row] = [("u", f"i{day}", day * DAY + DAY // 2, "home", day % 2) for day in range(9)]
    (sample,) = checked(tmp_path, rows, spec("item")).statistics
    assert sample.keys == 9
    assert sample.state_in_a_year == pytest.approx(sample.state_bytes * (1 + 365 / 9), rel=0.01)
    (bounded,) = checked(tmp_path, rows, spec({"keys": "item", "expire": "8d"})).statistics
    assert bounded.state_in_a_year == bounded.state_bytes
    (constant,) = checked(tmp_path, TINY, spec("item")).statistics
    assert constant.state_in_a_year == constant.state_bytes, "less than a day tells nothing"


def test_a_key_that_is_mostly_missing_is_told(tmp_path):
    mostly = [(*row[:3], "", row[4]) for row in TINY[:3]] + TINY[3:]
    assert "the key (tab) is missing in 60.0% of the impressions" in told(checked(tmp_path, mostly, spec("tab")))
    assert "is missing" not in told(checked(tmp_path, TINY, spec("tab")))


def test_keys_that_are_mostly_new_are_told(tmp_path):
    declared = spec({"keys": "item", "delay": "0s"})
    rows = [*hourly("i0", 2), *(("u", f"i{hour}", hour * HOUR, "home", 1) for hour in range(2, 20))]
    warned = told(checked(tmp_path, rows, declared))
    assert "95.0% of the impressions have a key (item) that was never seen before" in warned
    rows[2] = ("u", "i0", 2 * HOUR, "home", 1)
    assert "never seen" not in told(checked(tmp_path, rows, declared)), "two of twenty are one in ten"


def test_a_key_of_one_value_is_told(tmp_path):
    rows = [(user, item, at, "home", like) for user, item, at, _, like in TINY]
    assert "the key (tab) has the same value in every impression" in told(checked(tmp_path, rows, spec("tab")))
    assert "the same value" not in told(checked(tmp_path, TINY, spec("tab", "item")))


def test_a_delay_shorter_than_a_behaviours_is_told(tmp_path):
    short = told(checked(tmp_path, TINY, spec({"keys": "item", "delay": "1m"})))
    assert "statistic 'item': delay 1m is shorter than the 5m of behaviour 'liked'" in short
    assert "shorter" not in told(checked(tmp_path, TINY, spec("item")))


def test_statistics_by_user_without_requests_are_told(tmp_path):
    pair = {"keys": ["user", "item"], "expire": "30d"}
    warned = told(checked(tmp_path, TINY, spec("user", pair, "item")))
    assert "user, user_item: by user, and the log has no `request`" in warned
    assert "no `request`" not in told(checked(tmp_path, TINY, spec("item")))
    assert "no `request`" not in told(checked(tmp_path, TINY, spec({"keys": "user", "granularity": "1d"})))
    with_request = spec("user", log={"request": {"gap": "30m"}})
    assert "no `request`" not in told(checked(tmp_path, TINY, with_request))


def test_pairs_that_never_expire_tell_what_they_weigh(tmp_path):
    pair = ["item", "tab"]
    assert "3 keys, whose state weighs" in told(checked(tmp_path, TINY, spec(pair)), severity="info")
    bounded = {"keys": pair, "expire": "30d"}
    assert told(checked(tmp_path, TINY, spec(bounded, "item")), severity="info") == ""


def test_a_state_above_a_gigabyte_is_told(tmp_path, monkeypatch):
    rows: list[Row] = [("u", f"i{day}", day * DAY, "home", day % 2) for day in range(9)]
    assert "weighs" not in told(checked(tmp_path, rows, spec("item")))
    monkeypatch.setattr("ingest.check_statistics._GIGABYTE", 10_000)
    assert "9 keys, whose state weighs" in told(checked(tmp_path, rows, spec("item")))
    assert "weighs" not in told(checked(tmp_path, TINY, spec("item"))), "which has no new keys"


def test_counts_that_are_still_growing_are_told_with_the_skip_that_is_enough(tmp_path):
    # Row n sees n before it: of 100, train (the first half) has the median 24.5, test (from 75 on) 87; that is 3.6
    # times as much. Without the first 40 it is 44.5, without the first 30 39.5, which is less than half.
    rows, item = hourly("a", 100), {"keys": "item", "delay": "0s"}
    declared = spec(item, {"keys": "tab", "delay": "0s"})
    warned = told(checked(tmp_path, rows, declared), "statistics")
    assert "item 24.5 and 87, tab 24.5 and 87" in warned
    assert "`split: {skip: 0.4}` is enough" in warned
    skipped = spec(item, split=BASE["split"] | {"skip": 0.4})
    assert "differs" not in told(checked(tmp_path, rows, skipped))
    assert "differs" not in told(checked(tmp_path, rows, spec({"keys": "item", "lifetime": False, "windows": ["1d"]})))


# A row is written again every 90 minutes, as logs do that follow what is going on: with the label of the first.
REPEATED: list[Row] = [
    (f"u{index % 7}", f"i{index}", index * 6 * HOUR + minutes * 60, "home", int(index % 3 == 0))
    for index in range(200)
    for minutes in (0, 90, 180, 270)
]


def test_a_delay_by_which_a_rate_knows_the_labels_stops_check(tmp_path):
    report = checked(tmp_path, REPEATED, spec({"keys": "item", "delay": "0s"}))
    outcome = told(report, severity="error")
    # A tie are a positive and a negative that are both the first of their item: half of a sixteenth.
    assert report.statistics[0].alone["like"].value == pytest.approx(1 - 1 / 32, abs=0.002)
    assert "its rate of like (lifetime) alone has an AUC of 0.96" in outcome
    assert "Is `delay` (0s) shorter than feedback takes" in outcome
    assert not report.ok
    right = checked(tmp_path, REPEATED, spec({"keys": "item", "delay": "6h"}))
    assert right.statistics[0].alone["like"].value == 0.5
    assert right.ok


def test_a_column_known_only_with_the_feedback_stops_check_and_its_command(tmp_path):
    once = [row for row in REPEATED if row[2] % (6 * HOUR) == 0]
    rows = [(user, item, at, "liked" if like else "not", like) for user, item, at, _, like in once]
    logs, declared = tmp_path / "logs", tmp_path / "spec.yaml"
    write(logs / "log.csv", rows)
    declared.write_text(yaml.safe_dump(BASE | {"statistics": {"by": ["tab"]}}))
    done = CliRunner().invoke(app, ["check", str(declared), "--logs", str(logs)])
    assert done.exit_code == 1
    assert "knows what it should predict" in " ".join(done.stdout.split())
    write(logs / "log.csv", once)
    assert CliRunner().invoke(app, ["check", str(declared), "--logs", str(logs)]).exit_code == 0


def test_a_leak_needs_examples_enough(tmp_path):
    rows = [(user, item, at, "liked" if like else "not", like) for user, item, at, _, like in hourly("a", 40)]
    report = checked(tmp_path, rows, spec("tab"))
    assert report.statistics[0].alone["like"] == Alone("like", "lifetime", True, 1.0, 10)
    assert told(report, severity="error") == ""


def daily(folder: Path, days: int) -> None:
    for day in range(days):
        name = f"{datetime.fromtimestamp(START, UTC).date() + timedelta(days=day)}"
        write(folder / name / "log.csv", hourly("a", 10 + day, since=day * DAY))


@pytest.mark.parametrize(
    ("sample", "rows", "median"),
    [
        (46, "all 46 rows of the log", 22.5),
        (3, "the last 2 of 4 days, 25 rows", 12),
        (2, "the last 1 of 4 days, 13 rows", 6),
        (1, "the first rows of each file, 4 in all", 1.5),
    ],
)
def test_statistics_are_of_whole_days_where_they_fit(tmp_path, sample, rows, median):
    daily(tmp_path, 4)
    report = check(spec({"keys": "item", "delay": "0s"}), str(tmp_path), sample, now=NOW)
    assert report.statistics_rows.startswith(rows)
    assert report.statistics[0].impressions == median
    assert "differs" not in told(report), "a run of daily folders begins with what was counted before"


def test_a_sample_that_counts_too_little_says_so(tmp_path):
    rows = hourly("a", 30)
    report = checked(tmp_path, rows, spec("item"), sample=2)
    assert report.statistics_rows.startswith("the first rows of each file, 2 in all: a run counts more")
    assert checked(tmp_path, rows, spec("item"), sample=3).statistics_rows == "all 30 rows of the log"


def rendered(report: CheckReport) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    render(report, console)
    return console.file.getvalue()


def test_the_tables_and_the_slots_are_printed(tmp_path):
    text = rendered(checked(tmp_path, TINY, spec("item", {"keys": ["item", "tab"], "of": ["like"]})))
    assert "Statistics, of all 5 rows of the log" in text
    assert "item 1h, delay 5m" in text
    assert "item_tab (item, tab) 1h, delay 5m" in text
    assert "item.like" in text
    assert "2 of 3, 66.7%" in text
    assert "item_statistics" not in text
    assert "Statistics" not in rendered(checked(tmp_path, TINY, RankingSpec.model_validate(BASE)))


RATIO = {"numerator": "ms", "denominator": "total"}
SLOTS = {
    "behaviours": [],
    "tasks": [
        {"name": "click", "column": "click"},
        {"name": "like", "column": "like", "within": {"column": "click"}},
        {"name": "finish", "ratio": RATIO, "within": {"column": "ms", "above": 0}},
    ],
}


def test_slots_are_told_in_words():
    section = {"by": [{"keys": "tab", "windows": ["6h"], "age": True}], "measures": [{"name": "play", "sum": "ms"}]}
    declared = RankingSpec.model_validate(BASE | SLOTS | {"statistics": section})
    (statistic,) = statistics_of(declared)
    # Impressions, click, like, finish, rows with some ms, ms: by half-life, in six hours, since ever; and their ages.
    of_spans = [2.25, 1.5, 0.6, 0.25, 1.25, 900], [2, 1, 0, 0.5, 1, 500], [41, 20, 3, 7.5, 15, 82_000]
    vector = [number for span in of_spans for number in span] + [HOUR, HOUR, 36 * HOUR, HOUR, HOUR, -1]
    assert list(slot_rows(declared, statistic, vector)) == [
        ("tab.click", "20 of 41, 48.8%; last 6h 1 of 2; half-life 1d 1.5 of 2.2; latest 1.0h before"),
        ("tab.like", "3 of 20, 15.0%; last 6h 0 of 1; half-life 1d 0.6 of 1.5; latest 36.0h before"),
        ("tab.finish", "7.5 of 15, mean 0.5; last 6h 0.5 of 1; half-life 1d 0.25 of 1.2; latest 1.0h before"),
        ("tab.play", "82,000 of 41, mean 2,000; last 6h 500 of 2; half-life 1d 900 of 2.2; never yet"),
    ]
    assert {text for _, text in slot_rows(declared, statistic, [float("nan")] * 24)} == {"missing"}


def test_auc_and_rank_correlation_are_those_of_hand():
    labels = np.array([1, 0, 1, 0]) > 0
    # Of four pairs two are right, one is a tie.
    assert area_under_curve(np.array([3.0, 2.0, 1.0, 1.0]), labels) == 0.625
    assert np.isnan(area_under_curve(np.ones(4), np.ones(4, bool)))
    # Ranks 1, 2, 3 and 1.5, 1.5, 3: 1.5 / sqrt(2 * 1.5).
    assert rank_correlation(np.array([1, 2, 3]), np.array([5, 5, 9])) == pytest.approx(1.5 / 3**0.5)
    assert np.isnan(rank_correlation(np.ones(3), np.arange(3)))


def test_a_missing_key_and_one_never_seen_are_the_same_news():
    declared = spec("item")
    (statistic,) = statistics_of(declared)
    vectors = np.array([[np.nan, np.nan], [0, 0], [10, 1]], np.float32)
    likes = {"like": np.array([0.0, 1.0, 0.0])}
    (worth,) = alone(declared, statistic, vectors, likes, {"like": np.ones(3)}, {"like": 0.3})
    assert worth.value == 0.75, "a tie, and one below"


def test_only_the_space_of_a_task_counts():
    declared = spec("item")
    (statistic,) = statistics_of(declared)
    vectors = np.array([[10, 9], [10, 1], [10, 10]], np.float32)
    likes = {"like": np.array([1.0, 0.0, 0.0])}
    (worth,) = alone(declared, statistic, vectors, likes, {"like": np.array([1, 1, 0])}, {"like": 0.3})
    assert (worth.value, worth.examples) == (1.0, 1)


def test_the_best_span_is_taken_and_nan_is_worst():
    values = [Alone("like", span, True, auc, 9) for span, auc in (("1d", float("nan")), ("7d", 0.6), ("8d", 0.5))]
    assert best(values)["like"].span == "7d"
    assert best(values[:1])["like"].span == "1d"
