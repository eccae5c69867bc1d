"""What is packed comes back, whatever the rows, the groups, and what follows a value."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.online.packing import Packing

SCHEMA = pa.schema(
    {
        "number": pa.int64(),
        "small": pa.int16(),
        "flag": pa.bool_(),
        "real": pa.float32(),
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "vector": pa.list_(pa.float32(), 2),
    }
)
TEXT = st.text(max_size=4)
ROW = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**15), 2**15 - 1),
    st.booleans(),
    st.floats(width=32, allow_nan=False),
    TEXT,
    st.lists(TEXT, max_size=3),
    st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2),
)


def table_of(rows: list[tuple]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    return pa.table([pa.array(list(column), field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


@settings(max_examples=20, deadline=None)
@given(groups=st.lists(st.lists(ROW, max_size=3), max_size=4), after=st.binary(max_size=5))
def test_each_group_comes_back_alone_and_all_of_them_together(groups, after):
    packing = Packing(SCHEMA)
    table = table_of([row for rows in groups for row in rows])
    # A slice of a larger table: what stands before it mustn't matter.
    table = pa.concat_tables([table_of(groups[-1] if groups else []), table]).combine_chunks()
    before = len(groups[-1]) if groups else 0
    edges = np.cumsum([0, *map(len, groups)])
    values = packing.pack(table.slice(before), edges)
    assert len(values) == len(groups)
    views = [memoryview(value + after) for value in values]
    for rows, value, view in zip(groups, values, views, strict=True):
        read, counts, ends = packing.unpack([view])
        assert read.equals(table_of(rows))
        assert (counts.tolist(), ends) == ([len(rows)], [len(value)])
    if groups:
        together, counts, _ = packing.unpack(views)
        assert together.equals(table.slice(before))
        assert counts.tolist() == list(map(len, groups))


def test_what_was_cut_short_is_no_value():
    packing = Packing(SCHEMA)
    (value,) = packing.pack(table_of([(1, 1, True, 1.0, "text", ["a"], [1.0, 2.0])]), np.array([0, 1]))
    for size in range(len(value)):
        with pytest.raises(ValueError, match=r"ends before|numbers, got|texts of"):
            packing.unpack([memoryview(value[:size])])
