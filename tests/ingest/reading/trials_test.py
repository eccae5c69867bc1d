"""Logs as people have them, one a trial: every row is an example, an event that is used, quarantined or unused.

How many rows there are is counted by a reader that knows nothing of ours: lines, `"user"` keys, Parquet's footer.
"""

import gzip
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ingest.check import check
from ingest.check_json import as_json
from pipeline.cli.main import app
from schema.spec import RankingSpec

T = 1_703_456_000
HEADER = "user,item,at,tab,play_ms,title,click"
COUNT = 120


def spec(features=None, tables=None, split=None, **log) -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "trial",
            "log": {
                "layout": "impressions",
                "files": "log*",
                "user": "user",
                "item": "item",
                "timestamp": {"column": "at"},
                **log,
            },
            "features": features or [{"name": "tab", "source": "log", "kind": "categorical"}],
            "behaviours": [] if log.get("timestamp") == {} else [{"name": "clicked", "column": "click"}],
            "tasks": [{"name": "click", "column": "click"}],
            **(tables or {}),
            **({"split": split} if split else {}),
        }
    )


EVENTS = {"layout": "events", "event": "event", "impression": "view", "attribution_window": "1d"}


def event_spec(**log) -> RankingSpec:
    declared = spec(**log).model_dump(exclude_unset=True)
    declared["log"] |= EVENTS
    declared |= {
        "features": [],
        "behaviours": [{"name": "viewed", "event": "view"}],
        "tasks": [{"name": "like", "event": "like"}],
    }
    return RankingSpec.model_validate(declared)


PLAY = [{"name": "play_ms", "source": "log", "kind": "numeric"}]


def record(i: int) -> dict:
    tab = ("home", "follow", "search")[i % 3]
    return {
        "user": f"u{i % 30}",
        "item": f"v{i % 17}",
        "at": T + 61 * i,
        "tab": tab,
        "play_ms": 1000 + i,
        "title": f"title {i}",
        "click": int(i % 4 == 0),
    }


def lines(change: Callable[[int, dict], dict] = lambda i, row: row, separator: str = ",") -> list[str]:
    rows = [separator.join(map(str, change(i, record(i)).values())) for i in range(COUNT)]
    return [HEADER.replace(",", separator), *rows]


def text(change: Callable[[int, dict], dict] = lambda i, row: row, separator: str = ",") -> bytes:
    return ("\n".join(lines(change, separator)) + "\n").encode()


def jsonl(records: list[dict], between: str = "\n") -> bytes:
    return between.join(json.dumps(row) for row in records).encode()


def records(change: Callable[[int, dict], dict] = lambda i, row: row) -> list[dict]:
    return [change(i, record(i)) for i in range(COUNT)]


def lines_in(path: Path) -> int:
    content = path.read_bytes()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    return len([line for line in content.replace(b"\r", b"\n").split(b"\n") if line]) - 1


def objects_in(path: Path) -> int:
    return path.read_bytes().count(b'"user"')


def examine(folder: Path, declared: RankingSpec) -> dict:
    return json.loads(json.dumps(as_json(check(declared, str(folder))), allow_nan=False))


def accounted(report: dict, rows: int) -> None:
    """Asserts that each row of the files is in one of the counts."""
    log = report["inputs"]["log"]
    assert log["rows"] == rows
    assert report["examples"] + log["quarantined"] + log["unused"] == rows
    assert sum(log["reasons"].values()) == log["quarantined"] + log["unused"]


def when(i: int, pattern: str) -> str:
    return datetime.fromtimestamp(T + 61 * i, UTC).strftime(pattern)


# By name: the log's bytes, what the spec declares beside the file, and how many rows are quarantined.
CSV_TRIALS: dict[str, tuple[bytes, dict, int]] = {
    "control": (text(), {}, 0),
    "carriage returns": (text().replace(b"\n", b"\r"), {}, 0),
    "gzip under a plain name": (gzip.compress(text()), {}, 0),
    "semicolons": (text(separator=";"), {"separator": ";"}, 0),
    "fractional epoch": (text(lambda i, row: row | {"at": f"{row['at']}.25"}), {}, 0),
    "BigQuery": (
        text(lambda i, row: row | {"at": when(i, "%Y-%m-%d %H:%M:%S UTC")}),
        {"timestamp": {"column": "at", "unit": "iso"}},
        0,
    ),
    "a format": (
        text(lambda i, row: row | {"at": when(i, "%d/%m/%Y %H:%M:%S")}),
        {"timestamp": {"column": "at", "format": "%d/%m/%Y %H:%M:%S"}},
        0,
    ),
    "an origin": (
        text(lambda i, row: row | {"at": 61_000 * i}),
        {"timestamp": {"column": "at", "unit": "ms", "origin": "2024-01-01"}},
        0,
    ),
    "stray quotes": (text(lambda i, row: row | {"title": '"open' if i % 20 == 10 else "x"}), {"max_bad_rows": 0.1}, 6),
    "stray pairs": (
        text(lambda i, row: row | {"title": {10: '"open', 40: 'shut"'}.get(i, "x")}),
        {},
        1,
    ),
    "missing ids": (
        text(lambda i, row: row | {"user": ("NULL", "\\N", "nan", "NA")[i % 4]} if i < 8 else row),
        {"max_bad_rows": 0.1},
        8,
    ),
}


@pytest.mark.parametrize("name", CSV_TRIALS)
def test_each_line_of_csv_is_accounted_for(tmp_path, name):
    content, declared, quarantined = CSV_TRIALS[name]
    (tmp_path / "log.csv").write_bytes(content)
    report = examine(tmp_path, spec(**declared))
    accounted(report, lines_in(tmp_path / "log.csv"))
    assert report["ok"], report["findings"]
    assert report["inputs"]["log"]["quarantined"] == quarantined
    assert report["tasks"]["click"]["examples"] == COUNT - quarantined


JSON_TRIALS: dict[str, tuple[bytes, int]] = {
    "objects in one line": (jsonl(records(), ""), 0),
    "a list": (json.dumps(records()).encode(), 0),
    "printed for people": (json.dumps(records(), indent=2).encode(), 0),
    "a byte order mark": (b"\xef\xbb\xbf" + jsonl(records()), 0),
    "NaN": (jsonl(records(lambda i, row: row | {"play_ms": math.nan if i % 10 == 0 else 5})), 0),
}


@pytest.mark.parametrize("name", JSON_TRIALS)
def test_each_object_of_json_is_accounted_for(tmp_path, name):
    content, quarantined = JSON_TRIALS[name]
    (tmp_path / "log.jsonl").write_bytes(content)
    report = examine(tmp_path, spec(PLAY))
    accounted(report, objects_in(tmp_path / "log.jsonl"))
    assert report["ok"]
    assert report["inputs"]["log"]["quarantined"] == quarantined
    assert report["columns"]["play_ms"]["missing"] == (12 if name == "NaN" else 0)


def test_ids_beyond_64_bits_stay_apart(tmp_path):
    content = jsonl(records(lambda i, row: row | {"user": 2**64 + i % 30}))
    (tmp_path / "log.jsonl").write_bytes(content)
    assert examine(tmp_path, spec())["users"] == 30


def test_a_key_that_one_file_lacks_is_missing_there_and_told(tmp_path):
    (tmp_path / "log1.jsonl").write_bytes(jsonl(records()))
    (tmp_path / "log2.jsonl").write_bytes(jsonl([{k: v for k, v in row.items() if k != "tab"} for row in records()]))
    (tmp_path / "log3.csv").write_bytes(b"")
    report = examine(tmp_path, spec())
    accounted(report, 2 * COUNT)
    assert report["columns"]["tab"]["missing"] == COUNT
    assert {
        "severity": "warning",
        "where": "log",
        "message": "1 of 2 files have no column 'tab'; it is missing in all their rows",
    } in report["findings"]


def test_whole_numbers_with_a_point_are_the_category_without(tmp_path):
    (tmp_path / "log1.csv").write_bytes(text(lambda i, row: row | {"tab": i % 3}))
    (tmp_path / "log2.csv").write_bytes(text(lambda i, row: row | {"tab": f"{i % 3}.0" if i > 3 else ""}))
    (tmp_path / "log3.jsonl").write_bytes(jsonl(records(lambda i, row: row | {"tab": float(i % 3)})))
    table = pa.Table.from_pylist(records(lambda i, row: row | {"tab": float(i % 3)}))
    pq.write_table(table, tmp_path / "log4.parquet")
    report = examine(tmp_path, spec())
    accounted(report, 4 * COUNT)
    assert sorted(report["columns"]["tab"]["values"]) == ["0", "1", "2"]
    assert (report["columns"]["tab"]["missing"], report["columns"]["tab"]["distinct"]) == (4, 3)


def test_words_for_missing_are_missing_and_those_that_look_like_it_are_told(tmp_path):
    tabs = ("NULL", "\\N", "nan", "None", "undefined", "-", "NA", "home")
    (tmp_path / "log.csv").write_bytes(text(lambda i, row: row | {"tab": tabs[i % 8], "play_ms": tabs[i % 5]}))
    report = examine(tmp_path, spec())
    assert report["columns"]["tab"]["values"] == ["-", "NA", "home"]
    assert report["columns"]["tab"]["missing"] == COUNT * 5 // 8
    messages = [
        finding["message"] for finding in report["findings"] if "does it stand for a missing one" in finding["message"]
    ]
    assert messages == [
        f"{word!r} is a value of its own in 15 rows; does it stand for a missing one? Then name it in `log.missing`"
        for word in ("-", "NA")
    ]
    declared = examine(tmp_path, spec(missing=["-", "home"]))
    assert sorted(declared["columns"]["tab"]["values"]) == ["NA", "NULL", "None", "\\N", "nan", "undefined"]
    assert examine(tmp_path, spec(PLAY))["columns"]["play_ms"]["missing"] == COUNT


def test_ids_that_a_spreadsheet_rounded_are_told(tmp_path):
    (tmp_path / "log.csv").write_bytes(text(lambda i, row: row | {"user": "1.2345E+17" if i % 2 else row["user"]}))
    (warning,) = [finding for finding in examine(tmp_path, spec())["findings"] if finding["where"] == "log.user"]
    assert warning["severity"] == "warning"
    assert warning["message"].startswith("60 of 120 ids look rounded, as a spreadsheet does it: '1.2345E+17'")


def test_times_that_start_from_zero_and_a_hidden_separator_are_told(tmp_path):
    (tmp_path / "log.csv").write_bytes(text(lambda i, row: row | {"at": 61_000 * i}))
    report = examine(tmp_path, spec(timestamp={"column": "at", "unit": "ms"}))
    accounted(report, COUNT)
    assert any("origin: 2024-01-01" in finding["message"] for finding in report["findings"])
    (tmp_path / "log.csv").write_bytes(text(separator="\t"))
    report = examine(tmp_path, spec())
    assert not report["ok"]
    assert "is the separator '\\t'?" in report["findings"][0]["message"]


def test_a_log_without_times_is_split_by_user_and_says_so(tmp_path):
    (tmp_path / "log.csv").write_bytes(text())
    report = examine(tmp_path, spec(timestamp={}, split={"by": "user", "eval": 0.2, "test": 0.2}))
    accounted(report, COUNT)
    assert report["ok"], report["findings"]
    message = "the log has no times: it is split by user, without sequences and statistics"
    assert {"severity": "info", "where": "log.timestamp", "message": message} in report["findings"]


def events(folder: Path, unit: str) -> int:
    """Writes views each followed .6 s later by a like, or by none, and returns how many rows there are."""
    rows = []
    for i in range(60):
        rows.append({"user": f"u{i}", "item": "v", "at": (T + 60 * i) * 1000 + 50, "event": "view"})
        if i % 2:
            rows.append(rows[-1] | {"at": rows[-1]["at"] + 600, "event": "like"})
        if i % 3 == 0:
            rows.append({"user": None, "item": None, "at": (T + 60 * i) * 1000, "event": "app_opened"})
    table = pa.Table.from_pylist(rows)
    index = table.column_names.index("at")
    table = table.set_column(index, "at", table["at"].cast(pa.timestamp("ms")).cast(pa.timestamp(unit)))
    pq.write_table(table, folder / "log.parquet")
    return pq.ParquetFile(folder / "log.parquet").metadata.num_rows


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_finer_than_a_second_tell_what_came_before(tmp_path, unit):
    rows = events(tmp_path, unit)
    report = examine(tmp_path, event_spec())
    log = report["inputs"]["log"]
    assert (log["rows"], log["quarantined"], log["unused"]) == (rows, 0, 20)
    assert log["reasons"] == {"the event 'app_opened' is not in the spec": 20}
    assert report["examples"] == 60
    assert report["tasks"]["like"]["positives"] == 30
    # All of them are in the second of the view.
    cut = examine(tmp_path, event_spec(timestamp={"column": "at", "precision": "s"}))
    assert cut["tasks"]["like"]["positives"] == 0


def test_the_tables_are_counted_too(tmp_path):
    (tmp_path / "log.csv").write_bytes(text())
    (tmp_path / "users.txt").write_bytes("id;city\nu1;Zürich\n;Basel\nu2;NULL\nu3;Genève;x\n".encode("latin-1"))
    users = {"files": "users.txt", "key": "id", "format": "csv", "separator": ";", "encoding": "latin-1"}
    features = [{"name": "city", "source": "users", "kind": "categorical"}]
    report = examine(tmp_path, spec(features, {"users": users}, max_bad_rows=0.9))
    assert report["inputs"]["users"] == {
        "rows": 4,
        "quarantined": 2,
        "unused": 0,
        "reasons": {"expected 2 columns, got 3": 1, "id: the id is missing": 1},
    }
    assert report["columns"]["city"] == {"kind": "categorical", "missing": 1, "distinct": 1, "values": ["Zürich"]}


def test_all_rows_of_small_logs_are_counted_and_a_share_of_large_ones_is_stated(tmp_path):
    (tmp_path / "log1.csv").write_bytes(text())
    (tmp_path / "log2.csv").write_bytes("\n".join(lines()[:11]).encode())
    full_report = as_json(check(spec(), str(tmp_path), sample_rows=COUNT + 10))
    assert full_report["inputs"]["log"]["rows"] == COUNT + 10
    sample = as_json(check(spec(), str(tmp_path), sample_rows=65))
    assert sample["inputs"]["log"]["rows"] == 65
    (stated,) = [
        finding["message"]
        for finding in sample["findings"]
        if finding["where"] == "log" and finding["severity"] == "info"
    ]
    assert stated.startswith("looked at a sample: the first 65 rows, about 5")


def test_the_command_prints_one_object_of_the_documented_keys(tmp_path):
    import yaml

    (tmp_path / "log.csv").write_bytes(text())
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec(PLAY).model_dump(mode="json", exclude_unset=True)))
    done = CliRunner().invoke(app, ["check", str(tmp_path / "spec.yaml"), "--logs", str(tmp_path), "--json"])
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert list(report) == ["ok", "inputs", "examples", "tasks", "columns", "users", "findings"]
    assert report["inputs"] == {"log": {"rows": COUNT, "quarantined": 0, "unused": 0, "reasons": {}}}
    assert report["tasks"] == {"click": {"examples": COUNT, "in_space": COUNT, "positives": 30}}
    play = report["columns"]["play_ms"]
    assert (play["kind"], play["missing"], play["distinct"], len(play["values"])) == ("numeric", 0, COUNT, 20)
    assert (report["ok"], report["examples"], report["users"]) == (True, COUNT, 30)
    done = CliRunner().invoke(app, ["check", str(tmp_path / "spec.yaml"), "--logs", str(tmp_path / "no"), "--json"])
    assert done.exit_code == 1
    nothing = json.loads(done.stdout)
    assert (nothing["ok"], list(nothing), nothing["inputs"]["log"]["rows"]) == (False, list(report), 0)


def test_ties_in_time_go_by_item_or_by_the_place_in_the_file(tmp_path):
    from ingest.rows import parse, read_source
    from ingest.sources import match_files
    from ingest.timeline import join

    rows = [f"u,{item},{T + index // 3},home,1,t,1" for index, item in enumerate("cabzyx")]
    (tmp_path / "log.csv").write_text("\n".join([HEADER, *rows, f"u,q,{T + 9},home,1,t,0"]))
    clicked_items = {}
    for order in ("item", "file"):
        declared = spec(order=order)
        (file,) = match_files(declared, str(tmp_path))
        (batch,) = read_source(declared, file)
        lines = join(declared, parse(declared, "log", batch)[0])
        sequence = lines.sequences["clicked"]
        items = np.array(lines.items.to_pylist())[lines.item]
        clicked_items[order] = "".join(items[sequence.rows[sequence.start[-1] : sequence.stop[-1]]])
    assert clicked_items == {"item": "abcxyz", "file": "cabzyx"}


def test_what_makes_evaluation_say_little_is_told(tmp_path):
    rows = [record(i) | {"at": T + i, "tab": f"t{i}", "user": f"u{i % 60 if i % 10 else 'bot'}"} for i in range(1500)]
    body = [",".join(map(str, row.values())) for row in rows]
    (tmp_path / "log.csv").write_text("\n".join([HEADER, *body]))
    declared = spec().model_dump(exclude_unset=True) | {"slices": [["tab"]]}
    declared["tasks"] = [{"name": "watch", "column": "play_ms", "kind": "regression"}]
    messages = {
        finding["where"]: finding["message"]
        for finding in examine(tmp_path, RankingSpec.model_validate(declared))["findings"]
    }
    assert messages["slices[0][0]"] == "'tab' has 1,500 values, a slice each; expected at most 1,000"
    assert messages["log.user"].startswith("'ubot' has 150 of 1,500 impressions (10.0%)")
    assert messages["gates"].startswith("no model will be blessed")
