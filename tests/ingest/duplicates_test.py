"""`log.duplicates`: rows that are equal in every column that the spec reads, by hand and against a count in Python."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.check import check
from ingest.check_json import as_json
from ingest.duplicates import DIGEST, with_digests, without_duplicates
from ingest.raw import RawBatch
from ingest.rows import parse
from schema.spec import RankingSpec

T = 1_703_456_000
LOG = {"layout": "impressions", "files": "log*", "user": "user", "item": "item", "timestamp": {"column": "at"}}
HEADER = "user,item,at,ms,note"
# By place: 2 is 0 again, 3 differs in what the task reads though not in its label, 4 in a column that nobody reads.
ROWS = ["u1,v1,{t},1000,a", "u2,v1,{t},2000,b", "u1,v1,{t},1000,a", "u1,v1,{t},1001,a", "u1,v1,{t},1000,c"]


def spec(duplicates: str, **log) -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "shop",
            "log": LOG | {"duplicates": duplicates} | log,
            "tasks": [{"name": "view", "column": "ms", "at_least": 500}],
        }
    )


def checked(folder: Path, duplicates: str) -> dict:
    # The second file repeats a row of the first.
    for name, rows in (("log-1.csv", ROWS), ("log-2.csv", ["u3,v1,{t},5,a", "u2,v1,{t},2000,b"])):
        (folder / name).write_text("\n".join([HEADER, *[row.format(t=T) for row in rows]]) + "\n")
    return as_json(check(spec(duplicates), str(folder)))


def test_by_default_every_row_counts(tmp_path):
    report = checked(tmp_path, "keep")
    assert (report["examples"], report["inputs"]["log"]["unused"]) == (7, 0)


def test_drop_leaves_the_first_of_equal_rows(tmp_path):
    report = checked(tmp_path, "drop")
    reasons = {"duplicates: the row stands in the log before": 3}
    assert report["inputs"]["log"] == {"rows": 7, "quarantined": 0, "unused": 3, "reasons": reasons}
    assert (report["examples"], report["tasks"]["view"]["positives"]) == (4, 3)


def test_error_says_how_many_there_are_and_where_the_first_stands(tmp_path):
    report = checked(tmp_path, "error")
    (said,) = [finding for finding in report["findings"] if finding["message"].startswith("log.duplicates")]
    assert (said["severity"], said["where"], report["ok"]) == ("error", "log", False)
    row_of_file = f"{tmp_path}/log-1.csv row"
    assert said["message"].startswith("log.duplicates: 3 rows are equal to one before them")
    assert said["message"].endswith(f"The first: {row_of_file} 4 is the same as {row_of_file} 2")


def test_only_digests_stay_with_the_rows():
    table = pa.table({"time": pa.array([T, T])})
    batch = RawBatch("log.csv", np.array([2, 3]), {"user": pa.array(["u1", "u1"]), "at": pa.array([T, T])})
    left, equal_rows = without_duplicates(with_digests(spec("drop"), table, batch))
    assert left.column_names == ["time", DIGEST]
    assert equal_rows == [("log.csv", 3, "log.csv row 2")]
    assert with_digests(spec("keep"), table, batch) is table


def test_a_row_that_days_carried_on_is_known_but_not_to_itself():
    table = pa.table({"time": pa.array([T, T + 1])})
    columns = {"user": pa.array(["u1", "u1"]), "at": pa.array([T, T + 1])}
    marked = with_digests(spec("drop"), table, RawBatch("log.csv", np.array([2, 3]), columns))
    carried = without_duplicates(marked)[0].slice(0, 1)
    left, equal_rows = without_duplicates(marked, carried)
    assert (left["time"].to_pylist(), equal_rows) == ([T + 1], [("log.csv", 2, "a row of an earlier day")])
    left, equal_rows = without_duplicates(marked, carried, np.array([False, True]))
    assert (left.num_rows, equal_rows) == (2, [])


CELLS = st.sampled_from(["", "a", "1", "1.0", "a1", "-", ":", "NULL"])
EVEN = {"": None, "NULL": None, "1.0": "1"}


@settings(deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=30))
def test_rows_are_equal_where_all_cells_mean_the_same(rows):
    columns = {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(("a", "b"))}
    table = pa.table({"time": pa.array([T] * len(rows), pa.int64())})
    marked = with_digests(spec("drop"), table, RawBatch("log.csv", np.arange(len(rows)), columns))
    counted = Counter(tuple(EVEN.get(cell, cell) for cell in row) for row in rows)
    assert len(without_duplicates(marked)[1]) == len(rows) - len(counted)


@pytest.mark.parametrize("array", [pa.array([[1, 2], [1, 2], [12]]), pa.array([1.0, 1.0, 1.5]), pa.array([7, 7, 8])])
def test_columns_of_any_type_are_compared(array):
    columns = {
        "user": pa.array(["u", "u", "u"]),
        "item": pa.array(["v", "v", "v"]),
        "at": pa.array([T, T, T]),
        "ms": array if not pa.types.is_nested(array.type) else pa.array([1, 1, 1]),
        "list": array,
    }
    table, bad, _ = parse(spec("drop"), "log", RawBatch("log.parquet", np.arange(3), columns))
    assert bad == []
    assert [row for _, row, _ in without_duplicates(table)[1]] == [1]
