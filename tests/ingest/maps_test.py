"""Maps as logs and tables hold them: the same entries from every format, and what isn't one left out."""

import gzip
import json
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.check import check
from ingest.formats import read_file
from ingest.kinds import reader_of
from ingest.rank_request import RequestLogs
from ingest.rows import columns_of, parse, separators_of
from ingest.values import Column, Rejects
from schema.spec import Feature, RankingSpec

TASTES = Feature(name="tastes", source="users", kind="map")
SHOPS = Feature(name="shops", source="users", kind="map", values="categorical")
SPEC = RankingSpec.model_validate(
    {
        "name": "tastes",
        "log": {"layout": "impressions", "files": "log*", "user": "u", "item": "i", "timestamp": {"column": "t"}},
        "users": {"files": "users*", "key": "u"},
        "items": {"files": "items*", "key": "i"},
        "features": [
            TASTES.model_dump(exclude_defaults=True),
            {"name": "topic", "source": "items", "kind": "categorical"},
        ],
        "derive": [{"name": "taste", "look_up": {"map": "tastes", "key": "topic"}}],
        "tasks": [{"name": "like", "column": "like"}],
    }
)
USERS = [{"film": 0.1, "1.0": 3}, {"news": None, "art": -2.5}, {}, None]
ENTRIES = [["film=0.1", "1=3"], ["art=-2.5"], [], None]


def write_csv(folder: Path) -> Path:
    path = folder / "users.csv.gz"
    cells = ["film=0.1|1.0=3", "news=|art=-2.5", "{}", ""]
    path.write_bytes(gzip.compress(("u,tastes\n" + "".join(f"v{n},{c}\n" for n, c in enumerate(cells))).encode()))
    return path


def write_json_in_csv(folder: Path) -> Path:
    path = folder / "users.tsv"
    cells = ["" if cell is None else json.dumps(cell) for cell in USERS]
    path.write_text("u\ttastes\n" + "".join(f"v{n}\t{cell}\n" for n, cell in enumerate(cells)))
    return path


def write_jsonl(folder: Path) -> Path:
    path = folder / "users.jsonl"
    path.write_text("".join(json.dumps({"u": f"v{n}", "tastes": cell}) + "\n" for n, cell in enumerate(USERS)))
    return path


def write_structs(folder: Path) -> Path:
    pq.write_table(pa.table({"u": [f"v{n}" for n in range(4)], "tastes": pa.array(USERS)}), folder / "users.parquet")
    return folder / "users.parquet"


def write_maps(folder: Path) -> Path:
    tastes = pa.array(
        [None if cell is None else list(cell.items()) for cell in USERS], pa.map_(pa.string(), pa.float64())
    )
    pq.write_table(pa.table({"u": [f"v{n}" for n in range(4)], "tastes": tastes}), folder / "users.parquet")
    return folder / "users.parquet"


def write_avro(folder: Path) -> Path:
    value = ["null", {"type": "map", "values": ["null", "double"]}]
    fields = [{"name": "u", "type": "string"}, {"name": "tastes", "type": value}]
    schema = {"type": "record", "name": "user", "fields": fields}
    with (folder / "users.avro").open("wb") as file:
        fastavro.writer(file, schema, [{"u": f"v{n}", "tastes": cell} for n, cell in enumerate(USERS)])
    return folder / "users.avro"


@pytest.mark.parametrize("write", [write_csv, write_json_in_csv, write_jsonl, write_maps, write_avro])
def test_every_format_holds_the_same_entries(tmp_path, write):
    path = write(tmp_path)
    quotes = SPEC.users.model_copy(update={"quotes": write is not write_json_in_csv})
    spec = SPEC.model_copy(update={"users": quotes})
    (batch,) = read_file(str(path), columns_of(spec, "users"), separators_of(spec, "users"), quotes)
    rows, bad, _ = parse(spec, "users", batch)
    assert not bad
    assert rows["feature:tastes"].to_pylist() == ENTRIES


def test_a_struct_has_an_entry_for_each_field_that_is_there(tmp_path):
    (batch,) = read_file(str(write_structs(tmp_path)), columns_of(SPEC, "users"), separators_of(SPEC, "users"))
    rows, _, _ = parse(SPEC, "users", batch)
    assert [entries and sorted(entries, reverse=True) for entries in rows["feature:tastes"].to_pylist()] == ENTRIES


def parsed(feature: Feature, cells: list, cell_type: pa.DataType | None = None):
    rejects = Rejects(len(cells))
    values = reader_of(feature).parse(feature, Column("tastes", pa.array(cells, cell_type), rejects))
    return values.to_pylist(), {row: reason for row, (reason, _) in rejects.reasons.items()}


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("film", "tastes: expected a map"),
        ('{"film": 1', "tastes: expected a map"),
        ('{"film": [1]}', "tastes: expected a map"),
        ("film=much", "tastes: expected a number"),
        ("film=inf", "tastes: expected a finite number"),
        ('{"a=b": 1}', "tastes: a key of the map holds '='"),
    ],
)
def test_what_is_no_map_is_left_out_with_its_reason(cell, reason):
    assert parsed(TASTES, ["a=1", cell, "b=2"])[1] == {1: reason}


def test_categories_are_evened_out_and_missing_ones_left_out():
    assert parsed(SHOPS, ['{"a": 1.0, "b": "NULL", "c": true, "d": "x=y", "NULL": "z", "e": ""}'])[0] == [
        ["a=1", "c=true", "d=x=y"]
    ]


def test_of_equal_keys_the_last_one_counts():
    assert parsed(TASTES, ["a=1|a=2", None, "NULL"])[0] == [["a=2"], None, None]
    assert parsed(TASTES, [[("a", 1.0), ("a", 2.0)]], pa.map_(pa.string(), pa.float64()))[0] == [["a=2"]]


@settings(max_examples=50, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_is_written_so_that_the_same_float_is_read(number):
    ((entry,),), _ = parsed(TASTES, [[("a", number)]], pa.map_(pa.string(), pa.float32()))
    assert np.float32(entry.removeprefix("a=")) == np.float32(number)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    write_jsonl(folder)
    (folder / "items.csv").write_text("i,topic\nm1,film\nm2,art\n")
    rows = (f"v{n % 5},m{n % 2},{1_700_000_000 + n},{n % 2}\n" for n in range(40))
    (folder / "log.csv").write_text("u,i,t,like\n" + "".join(rows))
    return folder


def test_a_request_has_the_users_map_and_nothing_that_comes_of_it(folder):
    logs = RequestLogs.read(SPEC, str(folder), ["v0", "v9"], ["m1"])
    user = logs.user_columns("v0")
    assert user["tastes"].tolist() == [b"film=0.1", b"1=3"]
    assert logs.user_columns("v9")["tastes"].tolist() == []
    assert {*user, *logs.candidate_columns(["m1"])} == {"user_id", "tastes", "item_id", "topic"}


def test_check_shows_a_map_by_its_entries(folder):
    report = check(SPEC, str(folder))
    column = report.column_samples["tastes"]
    assert (column.kind, column.missing, column.distinct) == ("map", 2, 3)


def warned(declared: dict, folder: Path) -> dict[str, str]:
    findings = check(RankingSpec.model_validate(declared), str(folder)).findings
    return {finding.where: finding.message for finding in findings if finding.severity == "warning"}


def test_check_warns_of_a_look_up_that_never_matches_and_of_no_other(folder):
    declared = SPEC.model_dump(exclude_unset=True)
    assert "derive[0] (taste)" not in warned(declared, folder)
    declared["items"] = {"files": "topics*", "key": "i"}
    (folder / "topics.csv").write_text("i,topic\nm1,Film\nm2,\n")
    assert warned(declared, folder)["derive[0] (taste)"] == (
        "finds nothing: none of the 3 keys of 'tastes' ('film', '1', 'art') is one of the 1 values of 'topic' ('Film')"
    )
    # Keys are evened out before they are compared, as values are.
    (folder / "topics.csv").write_text("i,topic\nm1,1.0\nm2,\n")
    assert "derive[0] (taste)" not in warned(declared, folder)
    # Nothing to look up is another warning.
    (folder / "topics.csv").write_text("i,topic\nm1,\nm2,\n")
    messages = warned(declared, folder)
    assert "derive[0] (taste)" not in messages
    assert messages["features[1] (topic)"] == "column 'topic' is missing in all 2 rows of items"


def test_check_looks_up_hours_and_buckets_as_the_model_does(folder):
    log = SPEC.model_dump(exclude_unset=True)
    hours = {"name": "at", "source": "log", "derive": "hour_of_day"}
    ages = {"name": "age", "source": "log", "column": "t", "kind": "numeric", "scale": "buckets", "buckets": 4}
    look_ups = [{"name": f"by_{key}", "look_up": {"map": "tastes", "key": key}} for key in ("at", "age")]
    declared = log | {"features": [*log["features"], hours, ages], "derive": [*log["derive"], *look_ups]}
    messages = warned(declared, folder)
    # The rows are of 22 o'clock; `1` is a bucket.
    assert messages["derive[1] (by_at)"].endswith("is one of the 1 values of 'at' ('22')")
    assert "derive[2] (by_age)" not in messages


def test_check_warns_of_a_map_that_nothing_looks_into(folder):
    assert "features[0] (tastes)" not in warned(SPEC.model_dump(exclude_unset=True), folder)
    messages = warned(SPEC.model_dump(exclude_unset=True) | {"derive": []}, folder)
    assert (
        messages["features[0] (tastes)"] == "is a map, which only look-ups read, and no `look_up` in `derive` names it"
    )
