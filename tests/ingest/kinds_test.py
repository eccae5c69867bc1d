"""Vectors as logs and tables hold them: the same typed values from every format, and what isn't one left out."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joined_rows import examples_of

from ingest.examples import as_lists
from ingest.formats import read_file
from ingest.kinds import READERS, reader_of
from ingest.rows import columns_of, parse, separators_of
from ingest.values import Column, Rejects
from schema.features import FEATURE_KINDS
from schema.spec import Feature, RankingSpec

NAN = float("nan")
SPEC = RankingSpec.model_validate(
    {
        "name": "clips",
        "log": {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}},
        "users": {"files": "users*", "key": "u"},
        "items": {"files": "items*", "key": "i"},
        "features": [
            {"name": "screen", "source": "log", "kind": "vector", "size": 2},
            {"name": "taste", "source": "users", "kind": "vector", "size": 1},
            {"name": "embedding", "source": "items", "column": "e", "kind": "vector", "size": 3, "separator": ";"},
        ],
        "behaviours": [{"name": "liked", "column": "like", "max_length": 2}],
        "tasks": [{"name": "like", "column": "like"}],
    }
)
# Of eight items: a vector, two that are missing, and what is none.
CELLS = [[0.1, -2.0, 3e5], None, [], [1.0, 2.0], [1.0, 2.0, None], [1.0, 2.0, float("inf")], [4.0, 5.0, 6.0], [1, 2, 3]]
TYPED = [[pytest.approx(0.1, rel=1e-7), -2.0, 3e5], None, None, [4.0, 5.0, 6.0], [1.0, 2.0, 3.0]]
SIZE, NUMBERS = (
    "feature 'embedding': a vector of 2 numbers, expected 3",
    "feature 'embedding': expected 3 finite numbers",
)


def text(cell: list | None) -> str:
    return "" if cell is None else ";".join("" if number is None else repr(number) for number in cell)


def write_csv(path: Path) -> Path:
    path.write_text("i,e\n" + "".join(f"v{n},{text(cell)}\n" for n, cell in enumerate(CELLS)))
    return path


def write_jsonl(path: Path, lists: bool) -> Path:
    # JSON has no infinity.
    cells = [
        None if cell is None else [1e39 if number == float("inf") else number for number in cell] for cell in CELLS
    ]
    lines = [json.dumps({"i": f"v{n}", "e": cell if lists else text(cell)}) for n, cell in enumerate(cells)]
    path.write_text("\n".join(lines))
    return path


def write_parquet(path: Path, type_: pa.DataType) -> Path:
    pq.write_table(pa.table({"i": [f"v{n}" for n in range(len(CELLS))], "e": pa.array(CELLS, type_)}), path)
    return path


def read(path: Path, spec: RankingSpec = SPEC) -> tuple[pa.Table, list[tuple[int, str]]]:
    tables, bad = [], []
    for batch in read_file(str(path), columns_of(spec, "items"), separators_of(spec, "items")):
        table, left_out, _ = parse(spec, "items", batch)
        tables.append(table)
        bad += [(row.row, row.reason) for row in left_out]
    return pa.concat_tables(tables), bad


@pytest.mark.parametrize("form", ["csv", "lists in json", "text in json", "list", "large list", "float64"])
def test_every_format_gives_the_same_vectors_and_leaves_out_the_same_rows(tmp_path, form):
    path = {
        "csv": lambda: write_csv(tmp_path / "items.csv"),
        "lists in json": lambda: write_jsonl(tmp_path / "items.jsonl", lists=True),
        "text in json": lambda: write_jsonl(tmp_path / "items.jsonl", lists=False),
        "list": lambda: write_parquet(tmp_path / "items.parquet", pa.list_(pa.float32())),
        "large list": lambda: write_parquet(tmp_path / "items.parquet", pa.large_list(pa.float32())),
        "float64": lambda: write_parquet(tmp_path / "items.parquet", pa.list_(pa.float64())),
    }[form]()
    table, bad = read(path)
    assert table["key"].to_pylist() == ["v0", "v1", "v2", "v6", "v7"]
    assert table["feature:embedding"].to_pylist() == TYPED
    # The header of a CSV file is row 1.
    first = 2 if form == "csv" else 1
    assert [row - first for row, _ in bad] == [3, 4, 5]
    assert bad[0][1] == SIZE
    assert [reason.startswith(f"{NUMBERS}, got ") for _, reason in bad[1:]] == [True, True]


def test_a_fixed_size_list_is_read_as_it_is_and_refused_where_another_size_is_declared(tmp_path):
    cells = [[0.5, 1.5, 2.5], [NAN] * 3, [NAN, 1, 2]]
    array = pa.array(cells, pa.list_(pa.float32(), 3))
    pq.write_table(pa.table({"i": ["a", "b", "c"], "e": array}), tmp_path / "items.parquet")
    table, bad = read(tmp_path / "items.parquet")
    # As pandas writes missing ones, NaN in every place.
    assert table["feature:embedding"].to_pylist() == [cells[0], None]
    assert bad == [(3, f"{NUMBERS}, got [nan, 1.0, 2.0]")]
    features = tuple(feature.model_copy(update={"size": 8}) for feature in SPEC.features)
    table, bad = read(tmp_path / "items.parquet", SPEC.model_copy(update={"features": features}))
    assert table.num_rows == 0
    assert {reason for _, reason in bad} == {"feature 'embedding': a vector of 3 numbers, expected 8"}


def test_what_is_no_number_is_shown(tmp_path):
    (tmp_path / "items.csv").write_text("i,e\na,1;x;3\nb,1; 2 ;3e0\n")
    table, bad = read(tmp_path / "items.csv")
    assert bad == [(2, f"{NUMBERS}, got '1;x;3'")]
    assert table["feature:embedding"].to_pylist() == [[1, 2, 3]]


def test_a_list_where_one_value_is_expected_leaves_its_row_out(tmp_path):
    """A column that holds vectors, and that a categorical feature reads too."""
    text_of_it = Feature(name="text", source="items", column="e", kind="categorical")
    spec = SPEC.model_copy(update={"features": (*SPEC.features, text_of_it)})
    table, bad = read(write_parquet(tmp_path / "items.parquet", pa.list_(pa.float32())), spec)
    assert table["key"].to_pylist() == ["v1"]
    assert "e: expected a single value, got [4.0, 5.0, 6.0]" in [reason for _, reason in bad]


def test_a_column_that_a_multi_valued_feature_reads_too_is_lists_for_both(tmp_path):
    multi = Feature(name="text", source="items", column="e", kind="multi", separator=";")
    for features in ((*SPEC.features, multi), (multi, *SPEC.features)):
        spec = SPEC.model_copy(update={"features": features})
        path = write_parquet(tmp_path / "items.parquet", pa.list_(pa.float32()))
        table, _ = read(path, spec)
        rows = {row.pop("key"): row for row in table.to_pylist()}
        assert rows["v6"] == {"feature:embedding": [4, 5, 6], "feature:text": ["4", "5", "6"]}
        assert rows["v0"]["feature:embedding"] == TYPED[0]


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.lists(numbers, min_size=2, max_size=2), max_size=5))
def test_text_and_lists_give_the_same_bits(cells):
    feature = SPEC.features[0]
    as_text = [None if cell is None else "|".join(map(repr, cell)) for cell in cells]
    arrays = (pa.array(as_text, pa.string()), pa.array(cells, pa.list_(pa.float32())))
    text_values, list_values = (
        READERS["vector"].parse(feature, Column("e", array, Rejects(len(array)))) for array in arrays
    )
    assert text_values.equals(list_values)
    assert list_values.to_pylist() == cells


def test_a_request_writes_a_vector_as_text():
    screen = SPEC.features[0]
    assert reader_of(screen).parse_text(screen, "1|2.5") == [1.0, 2.5]
    assert reader_of(screen).parse_text(screen, None) is None
    with pytest.raises(ValueError, match="feature 'screen': a vector of 1 number, expected 2"):
        reader_of(screen).parse_text(screen, "1")


@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_every_kind_has_a_reader_whose_missing_value_is_that_of_its_column(kind):
    feature = Feature(name="x", source="items", kind=kind, **({"size": 2} if kind == "vector" else {}))
    reader = reader_of(feature)
    (missing,) = as_lists(reader.fill(feature, pa.nulls(1, reader.type(feature)))).to_pylist()
    expected = {"categorical": "__missing__", "multi": [], "numeric": NAN, "vector": [NAN, NAN]}
    np.testing.assert_equal(missing, expected[kind])


def log(rows: list[tuple]) -> pa.Table:
    user, item, time, like, screen = zip(*rows, strict=True)
    return pa.table({"u": user, "i": item, "t": time, "like": like, "screen": pa.array(screen, pa.list_(pa.float32()))})


def test_a_vector_stands_in_the_example_and_an_items_at_each_position_oldest_first():
    at = 1_700_000_000
    rows = [
        ("ann", "v0", at, 1, [1, 2]),
        ("ann", "gone", at + 1, 1, None),
        ("ann", "v2", at + 2, 1, [3, 4]),
        ("ann", "v0", at + 3, 0, [5, 6]),
    ]
    items = pa.table({"i": ["v0", "v1", "v2"], "e": pa.array([[1, 2, 3], None, [7, 8, 9]], pa.list_(pa.float64()))})
    users = pa.table({"u": ["bob"], "taste": ["0.5"]})
    examples, bad = examples_of(SPEC, log(rows), users, items)
    assert bad == []
    gone = [NAN] * 3
    for name, expected in {
        "screen": [[1, 2], [NAN] * 2, [3, 4], [5, 6]],
        "taste": [[NAN]] * 4,
        "embedding": [[1, 2, 3], gone, [7, 8, 9], [1, 2, 3]],
        # The last two before each, one vector after the other.
        "liked_embedding": [[], [1, 2, 3], [1, 2, 3, *gone], [*gone, 7, 8, 9]],
    }.items():
        np.testing.assert_equal(examples[name].to_pylist(), expected)
    assert [len(ids) for ids in examples["liked_item_id"].to_pylist()] == [0, 1, 2, 2]


def test_an_empty_table_leaves_vectors_missing():
    items = pa.table({"i": pa.array([], pa.string()), "e": pa.array([], pa.string())})
    users = pa.table({"u": ["ann"], "taste": ["0.5"]})
    examples, _ = examples_of(SPEC, log([("ann", "v0", 1_700_000_000, 1, [1, 2])]), users, items)
    assert examples["taste"].to_pylist() == [[0.5]]
    np.testing.assert_equal(examples["embedding"].to_pylist(), [[NAN] * 3])


def parsed_tags(cells: list[str | None], **options) -> list:
    feature = Feature(name="tags", source="items", kind="multi", **options)
    return (
        READERS["multi"].parse(feature, Column("tags", pa.array(cells, pa.string()), Rejects(len(cells)))).to_pylist()
    )


def test_values_of_a_text_are_its_parts_without_missing_ones():
    assert parsed_tags(["a|b", "a||1.0|", "", None, "NULL", "nan|x"]) == [
        ["a", "b"],
        ["a", "1"],
        None,
        None,
        [],
        ["x"],
    ]


def test_lists_in_text_are_stripped_where_that_is_declared_and_doubted_where_it_is_not():
    cells = ["['a', 'b c']", "[d]", "e , f"]
    assert parsed_tags(cells, separator=",", strip=True) == [["a", "b c"], ["d"], ["e", "f"]]
    # What is left is a category as any other.
    assert parsed_tags(["[1.0, 2.0, nan]", "['NULL']"], separator=",", strip=True) == [["1", "2"], []]
    odd = pa.array(parsed_tags(cells, separator=","))
    feature = Feature(name="tags", source="items", kind="multi", separator=",")
    (doubt,) = READERS["multi"].doubts(feature, odd)
    assert doubt == (
        "5 of 5 values begin or end with a space, a bracket or a quote, such as \"['a'\"; `strip: true` takes them away"
    )
    assert list(READERS["multi"].doubts(feature, pa.array([["a", "b c"], None]))) == []


@pytest.mark.parametrize(
    ("cells", "expected"),
    [(["t", "f", "", "T"], [1, 0, -1, 1]), (["true", "NULL", "0.0", "\\N"], [1, -1, 0, -1])],
)
def test_truth_is_read_as_databases_write_it(cells, expected):
    assert Column("like", pa.array(cells), Rejects(4)).flags().tolist() == expected


def test_a_request_is_evened_out_as_a_log_is():
    tab = Feature(name="tab", source="log", kind="categorical")
    assert [reader_of(tab).parse_text(tab, text) for text in ("1.0", "1", "1.5", "NULL", "v1.0")] == [
        "1",
        "1",
        "1.5",
        None,
        "v1.0",
    ]
