"""Logs as they come: what is broken is left out, counted and shown, or stops the run with a sentence that says why."""

import bz2
import gzip
import json
import os
import resource
import stat
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.errors import IngestError
from ingest.formats import read_file
from ingest.rows import columns_of, parse
from ingest.sources import fingerprint, match_files
from schema.spec import RankingSpec

T = 1_700_000_000
HEADER = "user,item,at,tab,play_ms,click"


def _spec(**log) -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "videos",
            "log": {
                "layout": "impressions",
                "files": "log*",
                "user": "user",
                "item": "item",
                "timestamp": {"column": "at", "unit": "s"},
                **log,
            },
            "features": [{"name": "tab", "source": "log", "kind": "categorical"}],
            "behaviours": [{"name": "clicked", "column": "click", "max_length": 3}],
            "tasks": [{"name": "view", "column": "play_ms", "at_least": 10}, {"name": "click", "column": "click"}],
        }
    )


def _rows(count: int = 100) -> list[str]:
    return [f"u{i % 7},v{i % 5},{T + i},home,{i % 20},{i % 3 % 2}" for i in range(count)]


def _write(folder: Path, rows: list[str], header: str = HEADER, name: str = "log.csv") -> Path:
    (folder / "logs").mkdir(exist_ok=True)
    text = "\n".join([header, *rows]) + "\n"
    (folder / "logs" / name).write_text(text)
    return folder / "logs"


def _typed(path: Path) -> list[dict]:
    """The file's rows as ingest reads and types them."""
    spec = _spec()
    tables = []
    for batch in read_file(str(path), columns_of(spec, "log")):
        table, bad, _ = parse(spec, "log", batch)
        assert bad == []
        tables.append(table)
    return pa.concat_tables(tables).to_pylist()


def _records() -> list[dict]:
    names = HEADER.split(",")
    return [dict(zip(names, row.split(","), strict=True)) for row in _rows()]


def _jsonl() -> bytes:
    integer_columns = ("at", "play_ms", "click")
    rows = [{k: int(v) if k in integer_columns else v for k, v in record.items()} for record in _records()]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet() -> bytes:
    table = pa.Table.from_pylist(_records())
    for name, dtype in (("at", pa.int64()), ("play_ms", pa.float32()), ("click", pa.bool_())):
        column = table[name].cast(pa.int64()).cast(dtype)
        table = table.set_column(table.column_names.index(name), name, column)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def _zipped(name: str, data: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "not data")
        archive.writestr(name, data)


def test_every_format_and_compression_gives_the_same_rows(tmp_path):
    kinds = {"csv": "\r\n".join([HEADER, *_rows()]).encode(), "jsonl": _jsonl(), "parquet": _parquet()}
    compress = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}
    expected = _typed(_write(tmp_path, _rows()) / "log.csv")
    assert len(expected) == 100
    for kind, data in kinds.items():
        for compression in ("", ".gz", ".bz2", ".zip"):
            path = tmp_path / f"log.{kind}{compression}"
            if compression == ".zip":
                _zipped(f"inside.{kind}", data, path)
            else:
                path.write_bytes(compress[compression](data))
            assert _typed(path) == expected, path.name


def test_one_percent_of_broken_rows_is_left_out_counted_and_shown(tmp_path, ingest_logs):
    rows = _rows(1000)
    rows[10] = "u1,v1"
    rows[20] = f"u1,v1,{T},home,abc,1"
    rows[30] = f",v1,{T},home,1,1"
    rows[40] = "u1,v1,soon,home,1,1"
    rows[50] = f"u1,v1,{T * 1000},home,1,1"
    rows[60] = f"u1,v1,{T},ho\0me,1,1"
    rows[70] = f"u1,v1,{T},{'x' * 1_000_000},1,1"
    rows[80] = f"u1,v1,{T},home,1,maybe"
    rows[90] = f"u1,v1,{T},home,inf,1"
    result = ingest_logs(_spec(), _write(tmp_path, rows))

    assert len(result.rows) == 991
    assert [
        (rejection["row"], rejection["reason"])
        for rejection in sorted(result.rejected, key=lambda rejection: rejection["row"])
    ] == [
        (12, "expected 6 columns, got 2"),
        (22, "play_ms: expected a number, got 'abc'"),
        (32, "user: the id is missing"),
        (42, "at: expected a whole number of s, got 'soon'"),
        (52, f"at: expected a time from 1990 to 2100 in s (is the unit right?), got '{T * 1000}'"),
        (62, "tab: holds a NUL byte, got 'ho\\x00me'"),
        (72, f"tab: is longer than 65,536 bytes, got '{'x' * 59}… (1,000,000 characters)"),
        (82, "click: expected 0, 1, true or false, got 'maybe'"),
        (92, "play_ms: expected a finite number, got 'inf'"),
    ]
    assert all(rejection["file"].endswith("log.csv") and len(rejection["text"]) <= 500 for rejection in result.rejected)
    counts = result.summary["sources"]["log"]
    assert (counts["rows"], sum(counts["quarantined"].values())) == (1000, 9)
    assert counts["quarantined"]["play_ms: expected a number"] == 1


def test_rows_that_are_not_utf8_are_left_out(tmp_path, ingest_logs):
    logs = _write(tmp_path, _rows())
    with (logs / "log.csv").open("ab") as stream:
        stream.write(f"u1,v1,{T},".encode() + b"\xff\xfe,1,1\n")
    assert [rejection["reason"][:18] for rejection in ingest_logs(_spec(), logs).rejected] == ["tab: is not UTF-8,"]


def test_broken_lines_of_json_are_left_out(tmp_path, ingest_logs):
    (tmp_path / "logs").mkdir()
    bad = [b'{"user": "u1", ', b"[1]", b'{"user": {"id": 1}, "item": "v", "at": 1700000000}']
    (tmp_path / "logs/log.jsonl").write_bytes(_jsonl() + b"\n".join(bad) + b"\n")
    reasons = [rejection["reason"].split(":")[0] for rejection in ingest_logs(_spec(), tmp_path / "logs").rejected]
    assert reasons == ["not JSON", "expected an object, got list", "user"]


def test_sixty_percent_of_broken_rows_stop_the_run_and_stay_to_be_looked_at(tmp_path, ingest_logs):
    rows = ["broken" if i % 10 < 6 else row for i, row in enumerate(_rows(1000))]
    with pytest.raises(IngestError) as error:
        ingest_logs(_spec(), _write(tmp_path, rows))
    message = str(error.value)
    assert "600 of 1,000 rows (60.0%)" in message
    assert "600 times 'expected 6 columns, got 1'" in message
    quarantine = Path(message.rsplit(" ", 1)[1])
    assert len((quarantine / "rejected-log-00000.jsonl").read_text().splitlines()) == 600
    assert (quarantine / "summary.json").exists()


def test_a_run_counts_rows_of_the_files_however_broken_they_are(tmp_path, ingest_logs):
    """Rows read are examples and rows left out, against the lines of the files; a quote takes no rows with it."""
    rows = _rows(400)
    rows[100], rows[300] = 'u1,v1,"open', f'u1,v1,{T},"home,1,1'
    logs = _write(tmp_path, rows)
    (logs / "log2.jsonl").write_bytes(_jsonl().replace(b"\n", b"") + b'{"user": \n')
    (logs / "log3.csv").write_text("")
    (logs / "log4.csv").write_text("at,user,item,click,play_ms\n" + "".join(f"{T + i},NULL,v,0,1\n" for i in range(3)))
    result = ingest_logs(_spec(), logs)
    counts = result.summary["sources"]["log"]
    assert counts["rows"] == 400 + 101 + 3
    assert counts["quarantined"] == {"a quote is not closed": 2, "not JSON": 1, "user: the id is missing": 3}
    assert counts["files_without_column"] == {"tab": 1}
    assert len(result.rows) == 504 - 6
    assert {(rejection["row"], rejection["reason"]) for rejection in result.rejected} >= {
        (102, "a quote is not closed"),
        (302, "a quote is not closed"),
    }


def test_lines_between_stray_quotes_count_one_by_one_against_the_limit(tmp_path, ingest_logs):
    rows = [row.replace("home", '"home').replace("follow", '"follow') for row in _rows(100)]
    stray = sum('"' in row for row in rows)
    with pytest.raises(IngestError, match=f"{stray} of 100 rows .* can't be used"):
        ingest_logs(_spec(), _write(tmp_path, rows))


def test_a_log_without_times_is_split_by_user(tmp_path, ingest_logs):
    declared = _spec().model_dump(exclude_unset=True)
    declared["log"].pop("timestamp")
    declared |= {"behaviours": [], "split": {"by": "user", "eval": 0.2, "test": 0.2}}
    result = ingest_logs(RankingSpec.model_validate(declared), _write(tmp_path, _rows(1000)))
    users = {name: {row["user_id"][0] for row in rows} for name, rows in result.splits.items()}
    assert sum(map(len, users.values())) == len(set.union(*users.values()))
    assert all(users.values())
    assert {row["timestamp"][0] for row in result.rows} == {0}
    assert result.summary["cuts"] == {}


def test_a_wrong_clock_unit_stops_the_run_with_a_question(tmp_path, ingest_logs):
    with pytest.raises(IngestError, match="is the unit right"):
        ingest_logs(_spec(timestamp={"column": "at", "unit": "ms"}), _write(tmp_path, _rows()))


@pytest.mark.parametrize("extension", [".csv.gz", ".csv.bz2", ".zip", ".parquet", ".parquet.gz"])
def test_a_file_that_is_cut_short_is_named(tmp_path, ingest_logs, extension):
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / f"log{extension}"
    text = "\n".join([HEADER, *_rows(5000)]).encode()
    if extension == ".zip":
        _zipped("log.csv", text, path)
        data = path.read_bytes()
    elif ".parquet" in extension:
        data = _parquet() if extension == ".parquet" else gzip.compress(_parquet())
    else:
        data = (gzip if extension == ".csv.gz" else bz2).compress(text)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(IngestError) as error:
        ingest_logs(_spec(), tmp_path / "logs")
    assert str(path) in str(error.value)
    assert "is it cut short?" in str(error.value)


def test_a_missing_column_is_named_with_the_file_and_what_needs_it(tmp_path, ingest_logs):
    logs = _write(tmp_path, ["u,v,1,home,1"], header="user,item,at,tab,play_ms")
    with pytest.raises(
        IngestError, match=r"log\.csv: has no column 'click', which behaviour 'clicked' needs; its columns are"
    ):
        ingest_logs(_spec(), logs)


def test_an_empty_folder_is_named_with_the_pattern(tmp_path):
    with pytest.raises(IngestError, match=r"log\.files: the pattern 'log\*' matches no file in .*logs"):
        match_files(_spec(), str(_write(tmp_path, [], name="other.csv")))
    with pytest.raises(IngestError, match="that folder does not exist"):
        match_files(_spec(), str(tmp_path / "nowhere"))


def test_an_empty_file_has_no_rows_and_an_unknown_format_is_named(tmp_path, ingest_logs):
    logs = _write(tmp_path, _rows())
    (logs / "log2.csv").write_text("")
    (logs / "log3.csv").write_text(HEADER)
    assert len(ingest_logs(_spec(), logs).rows) == 100
    (logs / "log2.csv").rename(logs / "log2.xls")
    with pytest.raises(IngestError, match=r"log2\.xls: unknown format, expected"):
        match_files(_spec(), str(logs))


def test_a_task_of_one_class_stops_the_run(tmp_path, ingest_logs):
    rows = [row.rsplit(",", 1)[0] + ",0" for row in _rows()]
    with pytest.raises(IngestError, match="task 'click': all 80 examples of the train split are negative"):
        ingest_logs(_spec(), _write(tmp_path, rows))


def test_a_split_left_empty_stops_the_run(tmp_path, ingest_logs):
    rows = [f"u{i},v,{T if i < 50 else T + 1},home,{i},{i % 2}" for i in range(100)]
    with pytest.raises(
        IngestError, match=r"leave eval empty: train 50, eval 0, test 50 impressions, cut at 2023-11-14"
    ):
        ingest_logs(_spec(), _write(tmp_path, rows))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_ids_as_floats_lose_their_fraction_and_negative_64_bit_ids_stay(tmp_path, ingest_logs, kind):
    users = ["1.0", "-9223372036854775808", "007", "1"] if kind == "csv" else None
    rows = _rows()
    if users:
        rows = [",".join([users[i % 4], *row.split(",")[1:]]) for i, row in enumerate(rows)]
        logs = _write(tmp_path, rows)
        expected = {"1", "-9223372036854775808", "007"}
    else:
        logs = tmp_path
        table = pa.Table.from_pylist(_records())
        table = table.set_column(0, "user", pa.array(np.arange(100) % 3, pa.float64()))
        table = table.set_column(1, "item", pa.array([-9223372036854775808] * 100, pa.int64()))
        pq.write_table(table, logs / "log.parquet")
        expected = {"0", "1", "2"}
    result = ingest_logs(_spec(), logs)
    assert {row["user_id"][0] for row in result.rows} == expected
    if kind == "parquet":
        assert {row["item_id"][0] for row in result.rows} == {"-9223372036854775808"}


@pytest.mark.parametrize(("most", "name"), [(100, "quarantine/1/summary.json"), (4096, "examples/.*gz")])
def test_a_file_that_cannot_grow_is_named(tmp_path, ingest_logs, most, name):
    logs = _write(tmp_path, _rows(2000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk, writing fails halfway through a file: of the summary at 100 bytes, of a shard at 4,096.
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(IngestError, match=f"{name}: can't be written"):
            ingest_logs(_spec(), logs)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_unwritable_output_is_named(tmp_path, ingest_logs):
    logs = _write(tmp_path, _rows())
    # A file where the folder of the outputs should be: even root can't write below it.
    (tmp_path / "gen").write_text("")
    with pytest.raises(IngestError, match=r"gen/.*: can't be written"):
        ingest_logs(_spec(), logs)


def test_the_fingerprint_follows_the_content_alone(tmp_path):
    logs = _write(tmp_path, _rows())
    path = logs / "log.csv"
    before, times = fingerprint(_spec(), str(logs)), path.stat()
    path.write_bytes(path.read_bytes())
    assert fingerprint(_spec(), str(logs)) == before
    path.write_bytes(path.read_bytes().replace(b"home", b"away", 1))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat()[stat.ST_SIZE] == times.st_size
    assert fingerprint(_spec(), str(logs)) != before
