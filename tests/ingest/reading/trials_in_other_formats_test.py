"""Trials of other files: the same kinds of fault in Parquet, in tables, in gzip, in Hive folders and among events."""

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.check import check
from ingest.check_json import as_json
from schema.spec import RankingSpec

T = 1_703_456_000
TAB = {"name": "tab", "source": "log", "kind": "categorical"}
ROWS = [
    {"user": f"u{i % 30}", "item": f"v{i % 17}", "at": T + 61 * i, "tab": str(i % 3), "click": int(i % 4 == 0)}
    for i in range(120)
]


def spec(*features, log=None, **tables) -> RankingSpec:
    shared = {"layout": "impressions", "files": "log*", "user": "user", "item": "item"}
    return RankingSpec.model_validate(
        {
            "name": "trial",
            "log": {**shared, "timestamp": {"column": "at"}, **(log or {})},
            "features": [TAB, *features],
            "tasks": [{"name": "click", "column": "click"}],
            **tables,
        }
    )


def examine(folder: Path, declared: RankingSpec) -> dict:
    return json.loads(json.dumps(as_json(check(declared, str(folder)))))


def counts(report: dict, source: str = "log") -> tuple[int, int, int]:
    return tuple(report["inputs"][source][name] for name in ("rows", "quarantined", "unused"))


def columns(rows: list[dict], **replacements) -> pa.Table:
    return pa.table({name: replacements.get(name, [row[name] for row in rows]) for name in rows[0]})


def csv(rows: list[dict], separator: str = ",") -> bytes:
    lines = [separator.join(rows[0]), *(separator.join(map(str, row.values())) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def write_log(folder: Path) -> None:
    (folder / "log.csv").write_bytes(csv(ROWS))


def test_integers_floats_and_texts_of_parquet_are_one_category(tmp_path):
    integers, texts = pa.array([i % 3 for i in range(120)]), [f"{i % 3}.0" for i in range(120)]
    pq.write_table(columns(ROWS, tab=integers), tmp_path / "log1.parquet")
    floats = pa.array([float(i % 3) if i % 10 else None for i in range(120)])
    pq.write_table(columns(ROWS, tab=floats), tmp_path / "log2.parquet")
    pq.write_table(columns(ROWS, tab=texts), tmp_path / "log3.parquet")
    report = examine(tmp_path, spec())
    assert counts(report) == (360, 0, 0)
    assert (report["columns"]["tab"]["missing"], sorted(report["columns"]["tab"]["values"])) == (12, ["0", "1", "2"])


@pytest.mark.parametrize("number", [int, float, str, "{}.0".format], ids=["integers", "floats", "texts", "points"])
@pytest.mark.parametrize("word", ["-1", "-1.0"])
def test_a_number_that_stands_for_missing_does_in_every_spelling(tmp_path, number, word):
    marked = [number(-1) if i % 10 == 0 else number(i % 3) for i in range(120)]
    pq.write_table(columns(ROWS, tab=marked, click=marked), tmp_path / "log1.parquet")
    (tmp_path / "log2.csv").write_bytes(
        csv([row | {"tab": m, "click": m} for row, m in zip(ROWS, marked, strict=True)])
    )
    play = {"name": "play", "source": "log", "column": "tab", "kind": "numeric"}
    declared = spec(play, log={"missing": [word]}).model_dump(exclude_unset=True)
    declared["tasks"] = [{"name": "click", "column": "click", "above": 1}]
    report = examine(tmp_path, RankingSpec.model_validate(declared))
    assert counts(report) == (240, 0, 0)
    assert [report["columns"][name]["missing"] for name in ("tab", "play")] == [24, 24]
    assert sorted(report["columns"]["tab"]["values"]) == ["0", "1", "2"]
    assert report["tasks"]["click"]["in_space"] == 216


IDS = [10**17 + i % 30 for i in range(120)]


@pytest.mark.parametrize("kind", ["parquet", "csv", "users"])
def test_ids_that_a_float_has_rounded_are_told(tmp_path, kind):
    where, total = "log.user", 120
    if kind == "parquet":
        pq.write_table(columns(ROWS, user=pa.array(map(float, IDS))), tmp_path / "log.parquet")
    elif kind == "csv":
        (tmp_path / "log.csv").write_bytes(
            csv([row | {"user": f"{id_:.1f}"} for row, id_ in zip(ROWS, IDS, strict=True)])
        )
    else:
        write_log(tmp_path)
        pq.write_table(pa.table({"id": pa.array(map(float, IDS[:30]))}), tmp_path / "users.parquet")
        where, total = "users.key", 30
    users = {"users": {"files": "users*", "key": "id"}} if kind == "users" else {}
    (warning,) = [finding for finding in examine(tmp_path, spec(**users))["findings"] if "2^53" in finding["message"]]
    assert (warning["where"], warning["severity"]) == (where, "warning")
    assert warning["message"].startswith(f"{total} of {total} ids are floats")


@pytest.mark.parametrize("ids", [IDS, [float(i % 30) for i in range(120)], [f"{id_}" for id_ in IDS]])
def test_ids_with_all_their_digits_are_not_warned_of(tmp_path, ids):
    pq.write_table(columns(ROWS, user=pa.array(ids)), tmp_path / "log.parquet")
    report = examine(tmp_path, spec())
    assert report["users"] == 30
    assert not [finding for finding in report["findings"] if finding["where"] == "log.user"]


def test_semicolons_in_gzip_below_hive_folders_are_read_with_the_folders_columns(tmp_path):
    for hour in range(3):
        folder = tmp_path / f"dt=2023-12-2{hour}" / f"hour=0{hour}"
        folder.mkdir(parents=True)
        (folder / "log-0.csv.gz").write_bytes(gzip.compress(csv(ROWS[hour::3], ";")))
    hours = {"name": "hour", "source": "log", "kind": "categorical"}
    report = examine(tmp_path, spec(hours, log={"separator": ";", "files": "**/log*"}))
    assert (counts(report), report["columns"]["hour"]["values"]) == ((120, 0, 0), ["00", "01", "02"])


def test_a_table_of_json_in_gzip_has_marks_nan_and_several_objects_a_line(tmp_path):
    write_log(tmp_path)
    people = [{"id": f"u{i}", "age": float("nan") if i % 5 == 0 else i, "city": "NULL"} for i in range(30)]
    lines = "".join(json.dumps(person) + ("" if i % 2 else "\n") for i, person in enumerate(people))
    (tmp_path / "users.jsonl.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + lines.encode()))
    age, city = ({"name": name, "source": "users"} for name in ("age", "city"))
    report = examine(
        tmp_path,
        spec({**age, "kind": "numeric"}, {**city, "kind": "categorical"}, users={"files": "users*", "key": "id"}),
    )
    assert counts(report, "users") == (30, 0, 0)
    assert (report["columns"]["age"]["missing"], report["columns"]["city"]["missing"]) == (6, 30)


def test_stray_quotes_in_a_table_cost_their_own_rows(tmp_path):
    write_log(tmp_path)
    titles = "".join(f"v{i},{chr(34) if i in (3, 9) else ''}title,{i % 3}\n" for i in range(17))
    (tmp_path / "items.csv").write_text("id,title,topic\n" + titles)
    topic = {"name": "topic", "source": "items", "kind": "categorical"}
    report = examine(tmp_path, spec(topic, items={"files": "items*", "key": "id"}))
    assert counts(report, "items") == (17, 2, 0)
    assert "2 of 17 items of the log are not in the table" in " ".join(
        finding["message"] for finding in report["findings"]
    )


def test_parquet_of_decimal_times_and_flags_as_postgres_writes_them(tmp_path):
    times = pa.array([Decimal(row["at"]) + Decimal("0.25") for row in ROWS])
    flags = pa.array(["t" if row["click"] else "f" for row in ROWS]).dictionary_encode()
    pq.write_table(columns(ROWS, at=times, click=flags), tmp_path / "log.parquet")
    report = examine(tmp_path, spec())
    assert (counts(report), report["tasks"]["click"]["positives"]) == ((120, 0, 0), 30)


def test_half_a_parquet_file_is_named_beside_one_without_bytes(tmp_path):
    pq.write_table(columns(ROWS), tmp_path / "log1.parquet")
    content = (tmp_path / "log1.parquet").read_bytes()
    (tmp_path / "log2.parquet").write_bytes(content[: len(content) // 2])
    (tmp_path / "log0.parquet").write_bytes(b"")
    report = examine(tmp_path, spec())
    (error,) = [finding["message"] for finding in report["findings"] if finding["severity"] == "error"]
    assert "log2.parquet: can't be read as parquet" in error
    assert error.endswith("is it cut short?")


EVENTS = [
    {"user": f"u{i % 30}" if i % 5 else "", "item": f"v{i % 17}" if i % 5 else "", "at": str(T + i), "event": event}
    for i, event in enumerate(("opened", "view", "view", "like", "view") * 24)
]


def write_json_events(folder: Path) -> None:
    lines = (
        json.dumps({k: v or None for k, v in event.items()}) + "\n" * (i % 3 == 2) for i, event in enumerate(EVENTS)
    )
    (folder / "log.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode()))


def write_parquet_events(folder: Path) -> None:
    pq.write_table(pa.table({k: [event[k] or None for event in EVENTS] for k in EVENTS[0]}), folder / "log.parquet")


def write_events_with_carriage_returns(folder: Path) -> None:
    (folder / "log.csv").write_bytes(csv(EVENTS).replace(b"\n", b"\r"))


def write_events_in_two_members(folder: Path) -> None:
    content = csv(EVENTS)
    (folder / "log.csv.gz").write_bytes(gzip.compress(content[:999]) + gzip.compress(content[999:]))


@pytest.mark.parametrize(
    "write",
    [write_json_events, write_parquet_events, write_events_with_carriage_returns, write_events_in_two_members],
)
def test_unused_events_without_ids_are_no_bad_rows_in_any_format(tmp_path, write):
    write(tmp_path)
    declared = spec().model_dump(exclude_unset=True)
    declared["log"] |= {"layout": "events", "event": "event", "impression": "view", "attribution_window": "1d"}
    declared |= {"features": [], "tasks": [{"name": "like", "event": "like"}]}
    report = examine(tmp_path, RankingSpec.model_validate(declared))
    assert (counts(report), report["examples"]) == ((120, 0, 24), 72)
