"""The classes of columns' kinds, of which every column has the right one."""

import pytest

from models.features import dense
from models.kinds import KINDS, kind_of
from schema.columns import example_columns, model_columns
from schema.features import FEATURE_KINDS


@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_every_kind_of_feature_has_its_class(kind):
    assert FEATURE_KINDS[kind].column_kind in KINDS


def test_every_column_that_the_ranker_reads_has_its_class_and_its_dense_shape(spec, batch):
    assert {column.kind for column in model_columns(spec)} <= KINDS.keys()
    assert {column.kind for column in example_columns(spec)} - KINDS.keys() == {"timestamp", "target"}
    assert dense(batch, spec)["watched_embedding"].shape == (64, 8, 4)


def test_a_column_is_embedded_where_its_kind_has_a_table(spec):
    """`schema` may not ask the kinds, which import TensorFlow."""
    columns = model_columns(spec)
    assert {column.kind for column in columns if column.is_embedded} == {"id", "buckets"}
    assert [column.is_embedded for column in columns] == [
        kind_of(column).table(column) is not None for column in columns
    ]
