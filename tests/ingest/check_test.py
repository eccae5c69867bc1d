import gzip
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from ingest.check import check
from ingest.check_report import CheckReport, Finding
from pipeline.cli.check_output import render
from pipeline.cli.main import app
from schema.loading import load_spec
from schema.spec import RankingSpec
from simulation.logs import simulate

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SPECS = Path(__file__).parents[2] / "schema" / "specs"

EVENTS = {
    "name": "articles",
    "log": {
        "layout": "events",
        "files": "log*.csv",
        "user": "who",
        "item": "what",
        "timestamp": {"column": "when", "unit": "s"},
        "event": "did",
        "impression": "VIEW",
        "attribution_window": "1h",
        "max_bad_rows": 0.2,
    },
    "features": [{"name": "country", "source": "log", "kind": "categorical"}],
    "behaviours": [{"name": "viewed", "event": "VIEW"}, {"name": "liked", "event": "LIKE"}],
    "tasks": [{"name": "like", "event": "LIKE"}, {"name": "save", "event": "SAVE"}],
    "split": {"eval": 0.25, "test": 0.25},
}

# 1,700,000,000 s is 2023-11-14 22:13:20 UTC.
LOG = """\
when,did,what,who,country
1700000000,VIEW,a,ann,BR
1700000060,LIKE,a,ann,BR
1700000120,VIEW,b,ann,BR
1700000180,SAVE,b,ann,BR
1700000240,VIEW,a,bob,US
1700000300,SHARE,a,bob,US
1700000360,VIEW,c,bob,US
1700009999,LIKE,c,bob,US
"""


def spec(**more) -> RankingSpec:
    return RankingSpec.model_validate(EVENTS | more)


def checked(folder: Path, log: str = LOG, declared: RankingSpec | None = None, rows: int = 1_000) -> CheckReport:
    (folder / "log.csv").write_text(log)
    return check(declared or spec(), str(folder), rows, now=NOW)


def told(report: CheckReport, severity: str) -> dict[str, str]:
    return {finding.where: finding.message for finding in report.findings if finding.severity == severity}


def test_it_counts_what_it_read(tmp_path):
    report = checked(tmp_path)
    assert (report.files, report.rows, report.complete) == ({"log": 1}, {"log": 8}, True)
    assert report.period == ("2023-11-14 22:13:20 UTC", "2023-11-15 00:59:59 UTC")


def test_labels_are_those_of_the_join(tmp_path):
    like, save = checked(tmp_path).tasks
    # Bob's like of c comes 9,639 s after he saw it, and the window is an hour.
    assert (like.impressions, like.in_space, like.positive) == (4, 4, 1)
    assert (save.impressions, save.in_space, save.positive) == (4, 4, 1)


def test_a_user_is_shown_with_each_feature_sequence_and_label(tmp_path):
    ann = next(user for user in checked(tmp_path).users if user.user == "ann")
    first, second = ann.examples
    assert first == {
        "user_id": "ann",
        "item_id": "a",
        "timestamp": 1_700_000_000,
        "country": "BR",
        "viewed_item_id": [],
        "viewed_age_s": [],
        "liked_item_id": [],
        "liked_age_s": [],
        "label_like": 1.0,
        "space_like": 1.0,
        "label_save": 0.0,
        "space_save": 1.0,
    }
    assert (second["viewed_item_id"], second["viewed_age_s"]) == (["a"], [120.0])
    assert (second["liked_item_id"], second["liked_age_s"]) == (["a"], [60.0])
    assert (second["label_like"], second["label_save"]) == (0.0, 1.0)


def test_good_logs_have_no_error(tmp_path):
    report = checked(tmp_path)
    assert report.ok
    assert told(report, "error") == {}


def test_events_that_the_spec_does_not_use_are_named(tmp_path):
    assert told(checked(tmp_path), "info")["log.event"] == "events that the spec doesn't use: SHARE (1)"


def test_an_event_that_never_occurs_is_an_error_with_what_there_is(tmp_path):
    errors = told(checked(tmp_path, LOG.replace("SAVE", "SAVED")), "error")
    assert errors["event 'SAVE'"] == "never occurs; the log has VIEW, LIKE and, not in the spec, SAVED (1), SHARE (1)"
    assert errors["task 'save'"] == "all 4 labels are 0; there is nothing to learn"


def test_a_log_without_impressions_is_an_error(tmp_path):
    errors = told(checked(tmp_path, LOG.replace("VIEW", "SEEN")), "error")
    assert errors["log"] == "no impression in 3 rows"


def test_feedback_that_labels_nothing_is_told(tmp_path):
    expected = "1 of 2 events label nothing: no VIEW of the same user and item is in the 3,600 s before"
    assert told(checked(tmp_path), "warning")["task 'like'"] == f"{expected} (log.attribution_window)"


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1_000), ("us", 1_000_000)])
def test_a_mistaken_clock_unit_is_told_with_the_one_that_fits(tmp_path, unit, factor):
    header, *rows = LOG.splitlines()
    rescaled = "\n".join([header, *(f"{int(row[:10]) * factor}{row[10:]}" for row in rows)]) + "\n"
    errors = told(checked(tmp_path, rescaled), "error")
    expected = f"got `s`, in which 0 of 8 times lie between 1990 and 2100; expected `{unit}`, in which 8 do"
    assert errors["log.timestamp.unit"] == expected
    log = EVENTS["log"] | {"timestamp": {"column": "when", "unit": unit}}
    assert checked(tmp_path, rescaled, spec(log=log)).ok


def test_a_clock_in_iso_text_is_recognised(tmp_path):
    header, *rows = LOG.splitlines()
    iso = [f"{datetime.fromtimestamp(int(row[:10]), UTC).isoformat()}{row[10:]}" for row in rows]
    errors = told(checked(tmp_path, "\n".join([header, *iso])), "error")
    assert "expected `iso`, in which 8 do" in errors["log.timestamp.unit"]


def test_times_in_the_future_are_told(tmp_path):
    warnings = told(checked(tmp_path, LOG.replace("1700009999", "1900000000")), "warning")
    assert warnings["log.timestamp"] == "1 of 7 rows lie in the future, up to 2030-03-17 17:46:40 UTC"


def test_one_time_for_all_is_an_error(tmp_path):
    header, *rows = LOG.splitlines()
    errors = told(checked(tmp_path, "\n".join([header, *(f"1700000000{row[10:]}" for row in rows)])), "error")
    assert errors["log.timestamp"].startswith("all 4 impressions have the same time")


def test_a_split_that_would_be_empty_is_an_error(tmp_path):
    errors = told(checked(tmp_path, declared=spec(split={"eval": 0.1, "test": 0.1})), "error")
    # A tenth of four impressions is none, two tenths are one.
    assert errors["split"] == "the test split would be empty: train 3, eval 1, test 0 impressions"


def test_a_missing_column_is_named_with_what_needs_it(tmp_path):
    report = checked(tmp_path, LOG.replace("country", "nation"))
    assert not report.ok
    assert "has no column 'country', which feature 'country' needs" in told(report, "error")["log"]
    assert report.users == ()


def test_broken_rows_are_told_with_the_first_and_its_place(tmp_path):
    report = checked(tmp_path, LOG + "soon,VIEW,a,eve,BR\n")
    assert report.ok, "one row of nine is below max_bad_rows"
    message = told(report, "warning")["log"]
    assert message.startswith("1 of 9 rows (11.1%) would be quarantined: when: expected a whole number of s.")
    assert "log.csv row 10" in message
    assert message.endswith("got 'soon'")


def test_too_many_broken_rows_are_an_error(tmp_path):
    report = checked(tmp_path, LOG + "soon,VIEW,a,eve,BR\n" * 3)
    assert told(report, "error")["log"].startswith("3 of 11 rows (27.3%) would be quarantined")


def test_no_file_is_an_error_not_an_exception(tmp_path):
    report = check(spec(), str(tmp_path))
    assert [finding.severity for finding in report.findings] == ["error"]
    assert "the pattern 'log*.csv' matches no file" in report.findings[0].message


def test_a_truncated_file_is_an_error_and_the_others_are_read(tmp_path):
    declared = spec(log=EVENTS["log"] | {"files": "log*"})
    packed = gzip.compress(LOG.encode() * 500)
    (tmp_path / "log_b.csv.gz").write_bytes(packed[: len(packed) // 2])
    report = checked(tmp_path, declared=declared)
    assert not report.ok
    assert "log_b.csv.gz: can't be read" in told(report, "error")["log"]
    assert report.rows["log"] >= 8


def test_a_sample_is_bounded_and_says_so(tmp_path):
    report = checked(tmp_path, rows=3)
    assert (report.rows, report.complete) == ({"log": 3}, False)
    assert told(report, "error") == {}, "what a sample lacks the log may have"
    assert "event 'SAVE'" in told(report, "warning")


def test_every_file_has_its_share_of_a_sample(tmp_path):
    header, *rows = LOG.splitlines(keepends=True)
    (tmp_path / "log_2.csv").write_text(header + "".join(rows[4:]))
    report = checked(tmp_path, header + "".join(rows[:4]), rows=4)
    assert report.rows == {"log": 4}
    assert report.period == ("2023-11-14 22:13:20 UTC", "2023-11-14 22:17:20 UTC")


def with_items(folder: Path, items: str) -> CheckReport:
    (folder / "items.csv").write_text(items)
    features = [
        {"name": "topic", "source": "items", "kind": "categorical"},
        {"name": "tags", "source": "items", "kind": "multi"},
    ]
    return checked(folder, declared=spec(items={"files": "items.csv", "key": "id"}, features=features))


def test_items_that_the_table_does_not_have_are_counted(tmp_path):
    warnings = told(with_items(tmp_path, "id,topic,tags\na,art,x|y\nb,law,x\n"), "warning")
    assert warnings["items.key"].startswith("1 of 3 items of the log are not in the table")


def test_a_table_that_knows_none_of_the_items_is_an_error(tmp_path):
    errors = told(with_items(tmp_path, "id,topic,tags\nA,art,x|y\nB,law,x\n"), "error")
    assert errors["items.key"].startswith("3 of 3 items of the log are not in the table")


def test_vectors_of_the_sample_are_judged_and_shown(tmp_path):
    features = [{"name": "embedding", "source": "items", "kind": "vector", "size": 4}]
    behaviours = [{"name": "viewed", "event": "VIEW"}]
    declared = spec(items={"files": "items.csv", "key": "id"}, features=features, behaviours=behaviours)
    (tmp_path / "items.csv").write_text("id,embedding\na,1|2|3|4\nb,\nc,1|2|3\n")
    report = checked(tmp_path, declared=declared)
    findings = [finding.message for finding in report.findings if finding.where == "items"]
    assert findings[0].endswith("row 4: feature 'embedding': a vector of 3 numbers, expected 4")
    console = Console(record=True, width=200)
    render(report, console)
    printed = console.export_text()
    ann, bob = (
        [cell.strip() for cell in line.split("│")[2:4]] for line in printed.splitlines() if "│ embedding" in line
    )
    # b's vector is empty, c's has another size.
    assert ann == bob == ["(1, 2, 3, … 4 numbers)", "missing"]
    positions = next(line for line in printed.splitlines() if "viewed_embedding" in line).split("│")[2:4]
    assert [cell.strip() for cell in positions] == ["none", "(1, 2, 3, … 4 numbers)"]
    table = "id,embedding\na,1|2|3|4\nb,1|2|3|4\nc,1|2|3|4\n"
    (tmp_path / "items.csv").write_text(table)
    said = [finding.message for finding in checked(tmp_path, declared=declared).findings]
    assert "has the same value in every row that has one" in said


def daily(folder: Path) -> RankingSpec:
    """Two days with one between that is missing, each with a table of its own."""
    header, *rows = LOG.splitlines(keepends=True)
    # 1,700,100,000 s is 2023-11-16 02:00 UTC.
    later = "1700100000,VIEW,a,ann,BR\n"
    for day, log, topic in (("2023-11-14", rows[:7], "art"), ("2023-11-16", [later, rows[4]], "law")):
        (folder / day).mkdir()
        (folder / day / "log.csv").write_text(header + "".join(log))
        (folder / day / "items.csv").write_text(f"id,topic\na,{topic}\nb,{topic}\n")
    features = [{"name": "topic", "source": "items", "kind": "categorical"}]
    return spec(items={"files": "items.csv", "key": "id"}, features=features)


def test_daily_folders_are_looked_at_day_by_day(tmp_path):
    report = check(daily(tmp_path), str(tmp_path), now=NOW)
    assert report.rows == {"log": 9, "items": 4}
    ann = next(user for user in report.users if user.user == "ann")
    assert [example["topic"] for example in ann.examples] == ["art", "art", "law"]
    assert ann.examples[-1]["viewed_item_id"] == ["a", "b"]
    days = "2 daily folders, 2023-11-14 to 2023-11-16; a run takes a window of them, such as --window 3d:2023-11-16"
    assert told(report, "info")["logs"] == days
    warnings = told(report, "warning")
    assert warnings["logs"] == "no folder of 2023-11-15: a window with a missing day is refused"
    assert "1 of 9 rows (11.1%) would be quarantined: when: not a time of the daily folder" in warnings["log"]


def test_of_daily_folders_a_window_is_looked_at_as_a_run_takes_it(tmp_path):
    declared = daily(tmp_path)
    assert check(declared, str(tmp_path), now=NOW, window="1d:2023-11-16").rows == {"log": 2, "items": 2}
    (error,) = check(declared, str(tmp_path), now=NOW, window="2d:2023-11-16").findings
    assert "no files of 2023-11-15; it has 2023-11-14 to 2023-11-16" in error.message


def test_features_that_say_nothing_are_told(tmp_path):
    warnings = told(with_items(tmp_path, "id,topic,tags\na,art,\nb,art,\nc,art,\n"), "warning")
    assert warnings["features[0] (topic)"] == "has the same value in every row that has one"
    assert warnings["features[1] (tags)"] == "column 'tags' is missing in all 3 rows of items"


def test_another_separator_than_the_declared_is_told(tmp_path):
    warnings = told(with_items(tmp_path, 'id,topic,tags\na,art,"x,y"\nb,law,x\nc,law,y\n'), "warning")
    assert warnings["features[1] (tags)"] == "no value has the separator '|', some have ','"


def test_a_behaviour_that_is_always_empty_is_told(tmp_path):
    behaviours = [{"name": "saved", "event": "SAVE"}]
    warnings = told(checked(tmp_path, declared=spec(behaviours=behaviours)), "warning")
    assert warnings["behaviours[0] (saved)"] == "empty before each of 4 impressions"


def rendered(report: CheckReport) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    render(report, console)
    return console.file.getvalue()


def test_the_report_shows_users_labels_and_findings(tmp_path):
    text = rendered(checked(tmp_path))
    assert "User ann: 2 of 2 impressions" in text
    assert "2023-11-14 22:13:20 UTC" in text
    assert "1 (25.00%)" in text
    assert "60s ago" in text
    assert "Fit to run: no errors, 3 warnings." in text
    assert "info: log.event: events that the spec doesn't use: SHARE (1)" in text


def test_text_of_the_logs_neither_styles_nor_moves_the_terminal(tmp_path):
    text = rendered(checked(tmp_path, LOG.replace("ann", "[red]ann\x1b[2J")))
    assert "[red]ann" in text
    assert "\x1b" not in text


def test_an_unfit_log_says_so(tmp_path):
    report = checked(tmp_path, LOG.replace("country", "nation"))
    assert "Not fit to run: 1 errors, 0 warnings." in rendered(report)


def test_simulated_logs_are_fit_for_the_shipped_spec(tmp_path):
    simulate(tmp_path, users=200, impressions=20_000, seed=1, items=200)
    report = check(load_spec(SPECS / "shortvideo.yaml"), str(tmp_path), sample_rows=10_000, now=NOW)
    # Simulated people are as uneven as real ones: of 200 one has a good share of the impressions.
    findings = [finding for finding in report.findings if finding.severity != "info" and finding.where != "log.user"]
    # Counts that began with the log are still growing.
    assert {finding.severity for finding in findings} <= {"warning"}
    assert all("split.skip" in finding.message or "split: {skip" in finding.message for finding in findings), findings
    assert len(report.users) == 3
    assert all(len(user.examples) == 3 for user in report.users)
    assert rendered(report).count("User u") == 3


def test_a_finding_is_plain_data():
    assert Finding("info", "log", "x") == Finding("info", "log", "x")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"model": {"routing": "plle"}}, "model.routing: unknown routing 'plle'"),
        ({"tuning": {"routing": ["ple", "plle"]}}, "tuning.routing[1]: unknown routing 'plle'"),
    ],
)
def test_a_routing_that_there_is_not_is_refused_before_any_log_is_read(tmp_path, sections, said):
    declared = tmp_path / "spec.yaml"
    declared.write_text(yaml.safe_dump(EVENTS | sections))
    done = CliRunner().invoke(app, ["check", str(declared), "--logs", str(tmp_path / "no logs")])
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""
