"""Parquet and Avro: every type is a value, or a sentence that names file, column and type."""

import io
import uuid
from decimal import Decimal

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.errors import IngestError
from ingest.formats import read_file
from ingest.kinds import reader_of
from ingest.times import times
from ingest.values import Column, Rejects
from schema.clock import Timestamp
from schema.spec import Feature


def parquet(path, array: pa.Array) -> None:
    pq.write_table(pa.table({"c": array}), path)


def read(path, separators=None) -> pa.Array:
    batches = list(read_file(str(path), {"c": "feature 'c'"}, separators or {}))
    return pa.concat_arrays([batch.columns["c"] for batch in batches])


def column(array: pa.Array) -> Column:
    return Column("c", array, Rejects(len(array)))


UUIDS = [uuid.UUID(int=i + 5) for i in range(3)]


def test_uuids_of_avro_are_written_as_people_write_them(tmp_path):
    field = {"name": "c", "type": {"type": "string", "logicalType": "uuid"}}
    with (tmp_path / "a.avro").open("wb") as stream:
        fastavro.writer(stream, {"type": "record", "name": "r", "fields": [field]}, [{"c": value} for value in UUIDS])
    assert read(tmp_path / "a.avro").to_pylist() == [str(value) for value in UUIDS]


def test_uuids_of_parquet_are_written_as_people_write_them(tmp_path):
    storage = pa.array([*(value.bytes for value in UUIDS), None], pa.binary(16))
    parquet(tmp_path / "a.parquet", pa.ExtensionArray.from_storage(pa.uuid(), storage))
    assert column(read(tmp_path / "a.parquet")).ids().to_pylist() == [*(str(value) for value in UUIDS), None]


def test_sixteen_bytes_that_are_no_text_are_a_uuid_though_nothing_says_so(tmp_path):
    random = uuid.uuid5(uuid.NAMESPACE_URL, "a")
    storage = pa.array([random.bytes, UUIDS[0].bytes, b"0123456789abcdef", None], pa.binary(16))
    parquet(tmp_path / "a.parquet", storage)
    texts = column(read(tmp_path / "a.parquet")).texts().to_pylist()
    assert texts == [str(random), str(UUIDS[0]), "0123456789abcdef", None]


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        (pa.array([Decimal("12.00"), Decimal("1.50"), None], pa.decimal128(10, 2)), ["12", "1.5", None]),
        (pa.array([1.0, 2.5, None]), ["1", "2.5", None]),
        (pa.array(["1.0", "x", None], pa.large_string()), ["1", "x", None]),
        (pa.array(["1", "x", None]).dictionary_encode(), ["1", "x", None]),
        (pa.array([2**63 - 1, -1, None], pa.int64()), [str(2**63 - 1), "-1", None]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.nulls(3), [None] * 3),
    ],
)
def test_single_values_of_any_type_are_texts(tmp_path, array, texts):
    parquet(tmp_path / "a.parquet", array)
    assert column(read(tmp_path / "a.parquet")).texts().to_pylist() == texts


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (pa.array([[{"a": 1}]]), "column 'c' holds list<element: struct<a: int64>>, expected lists of single values"),
        (pa.array([{"a": 1}]), "column 'c' holds struct<a: int64>, expected single values"),
        (
            pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
            "column 'c' holds map<string, int64 ('c')>, expected single values",
        ),
    ],
)
def test_nested_values_are_refused_with_their_type(tmp_path, array, said):
    parquet(tmp_path / "a.parquet", array)
    with pytest.raises(IngestError) as error:
        read(tmp_path / "a.parquet", {"c": "|"})
    assert str(error.value) == f"{tmp_path}/a.parquet: {said}"


@pytest.mark.parametrize("array", [pa.array([[1]]), pa.array([[1, 2]], pa.list_(pa.int64(), 2))])
def test_lists_are_refused_where_one_value_is_expected(tmp_path, array):
    parquet(tmp_path / "a.parquet", array)
    with pytest.raises(IngestError, match="expected single values"):
        read(tmp_path / "a.parquet")


TAGS = Feature(name="tags", source="items", kind="multi", column="c")


def test_a_null_in_a_list_is_left_out_and_an_element_may_hold_the_separator(tmp_path):
    parquet(tmp_path / "a.parquet", pa.array([["a|b", None, "c"], [], None, [None], ["", "NULL", "d"]]))
    values = reader_of(TAGS).parse(TAGS, column(read(tmp_path / "a.parquet", {"c": "|"})))
    assert values.to_pylist() == [["a|b", "c"], [], None, [], ["d"]]
    assert reader_of(TAGS).fill(TAGS, values).to_pylist() == [["a|b", "c"], [], [], [], ["d"]]


def test_numbers_in_lists_are_evened_out_as_single_ones_are(tmp_path):
    parquet(tmp_path / "a.parquet", pa.array([[1.0, 2.5], [3.0]]))
    values = reader_of(TAGS).parse(TAGS, column(read(tmp_path / "a.parquet", {"c": "|"})))
    assert values.to_pylist() == [["1", "2.5"], ["3"]]


def test_a_slice_of_lists_is_read_from_its_own_start():
    lists = pa.array([["a"], ["b", "c"], ["d"]]).slice(1)
    assert reader_of(TAGS).parse(TAGS, column(lists)).to_pylist() == [["b", "c"], ["d"]]


AVRO = {
    "type": "record",
    "name": "row",
    "fields": [
        {"name": "user", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "n", "type": ["null", "double", "string"]},
    ],
}


def test_avro_gives_its_types(tmp_path):
    records = [
        {"user": "a", "at": 1_700_000_000_123_456, "tags": ["x", "y"], "n": 1.5},
        {"user": "b", "at": 1_700_000_001_000_000, "tags": [], "n": None},
        {"user": "c", "at": 1_700_000_002_000_000, "tags": ["z"], "n": "many"},
    ]
    sink = io.BytesIO()
    fastavro.writer(sink, AVRO, records)
    (tmp_path / "a.avro").write_bytes(sink.getvalue())
    columns = dict.fromkeys(("user", "at", "tags", "n", "gone"), "x")
    (batch,) = read_file(str(tmp_path / "a.avro"), columns, {"tags": "|"})
    assert batch.columns["user"].to_pylist() == ["a", "b", "c"]
    clock = Timestamp(column="at", precision="us")
    assert times(column(batch.columns["at"]), clock).tolist() == [record["at"] for record in records]
    assert batch.columns["tags"].to_pylist() == [["x", "y"], [], ["z"]]
    assert batch.columns["n"].to_pylist() == ["1.5", None, "many"]
    assert list(batch.absent) == ["gone"]


def test_a_file_of_another_format_than_its_name_says_is_told(tmp_path):
    pq.write_table(pa.table({"c": [1]}), tmp_path / "a.csv")
    with pytest.raises(IngestError, match=r"a\.csv: can't be read as csv: it holds parquet"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.parquet").write_bytes(b"c\n1\n")
    with pytest.raises(IngestError, match=r"a\.parquet: can't be read as parquet"):
        read(tmp_path / "a.parquet")


def test_a_date_is_no_number(tmp_path):
    parquet(tmp_path / "a.parquet", pa.array([1, 2], pa.date32()))
    with pytest.raises(IngestError, match="column 'c' holds date32"):
        column(read(tmp_path / "a.parquet")).numbers()
