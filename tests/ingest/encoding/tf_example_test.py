"""The encoder against TensorFlow's and tfx_bsl's own readers and writers."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.encoding.tf_example import serialized, text_elements, varint
from ingest.encoding.tfrecord import gzipped

texts = st.text(max_size=200)
floats = st.floats(width=32, allow_nan=False)
integers = st.integers(-(2**63), 2**63 - 1)


def _ragged(rows: list[list], kind: pa.DataType) -> pa.Array:
    array = pa.array(rows, pa.list_(kind))
    return pa.ListArray.from_arrays(array.offsets, text_elements(array.values)) if kind == pa.string() else array


@pytest.mark.parametrize(("number", "bytes_"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")])
def test_varints_are_protobufs(number, bytes_):
    assert varint(number) == bytes_


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(texts, floats, integers, st.lists(texts), st.lists(floats)), min_size=1, max_size=8))
def test_tensorflow_reads_back_what_was_encoded(rows):
    text, number, integer, many_texts, many_numbers = (list(column) for column in zip(*rows, strict=True))
    columns = {
        "text": text_elements(pa.array(text)),
        "number": pa.array(number, pa.float32()),
        "whole": pa.array(integer, pa.int64()),
        "texts": _ragged(many_texts, pa.string()),
        "numbers": _ragged(many_numbers, pa.float32()),
    }
    for row, record in zip(rows, serialized(columns).to_pylist(), strict=True):
        feature = tf.train.Example.FromString(record).features.feature
        assert [value.decode() for value in feature["text"].bytes_list.value] == [row[0]]
        assert list(feature["number"].float_list.value) == [row[1]]
        assert list(feature["whole"].int64_list.value) == [row[2]]
        assert [value.decode() for value in feature["texts"].bytes_list.value] == row[3]
        assert list(feature["numbers"].float_list.value) == row[4]
        # In another order of the features, these are the bytes that protobuf itself writes.
        assert len(record) == tf.train.Example.FromString(record).ByteSize()


def test_a_slice_of_an_array_is_encoded_as_itself():
    text_slice = text_elements(pa.array(["aa", "b", "", "cccc"])).slice(1, 3)
    numbers = pa.array(np.arange(4, dtype=np.float32)).slice(1, 3)
    records = [
        tf.train.Example.FromString(record) for record in serialized({"a": text_slice, "n": numbers}).to_pylist()
    ]
    assert [list(example.features.feature["a"].bytes_list.value) for example in records] == [[b"b"], [b""], [b"cccc"]]
    assert [list(example.features.feature["n"].float_list.value) for example in records] == [[1.0], [2.0], [3.0]]


def test_tensorflow_reads_the_records_and_finds_their_checksums_right(tmp_path):
    records = [b"", b"a", b"x" * 100_000, *[str(i).encode() for i in range(1000)]]
    batches = [pa.array(records[:3], pa.large_binary()), pa.array(records, pa.large_binary()).slice(3)]
    (tmp_path / "file.gz").write_bytes(b"".join(gzipped(batches)))
    read = tf.data.TFRecordDataset(str(tmp_path / "file.gz"), compression_type="GZIP")
    assert list(read.as_numpy_iterator()) == records
