"""The scales of vectors that need no analysis; that which does is tested in preprocessing_test."""

import numpy as np
import tensorflow as tf

from models.features import placeholders
from models.kinds import kind_of
from schema.columns import model_columns
from schema.spec import RankingSpec

NAN = float("nan")
VECTORS = tf.constant([[3.0, 4.0], [0.0, 0.0], [NAN, NAN], [1.0, NAN], [float("inf"), 1.0]])


def scaled(spec: RankingSpec, scale: str) -> np.ndarray:
    (feature,) = (feature for feature in spec.features if feature.kind == "vector")
    features = (feature.model_copy(update={"size": 2, "scale": scale}),)
    changed = spec.model_copy(update={"features": features})
    columns = [column for column in model_columns(changed) if column.feature]
    assert [column.name for column in columns] == ["embedding", "watched_embedding", "liked_embedding"]
    return kind_of(columns[0]).analyse(columns, {}, changed)(VECTORS).numpy()


def test_none_leaves_the_numbers_and_l2_divides_them_by_the_length(spec):
    # What is not whole, which only a request can hold, is missing.
    missing = [[0, 0, 1]] * 3
    np.testing.assert_array_equal(scaled(spec, "none"), [[3, 4, 0], [0, 0, 0], *missing])
    np.testing.assert_allclose(scaled(spec, "l2"), [[0.6, 0.8, 0], [0, 0, 0], *missing], rtol=1e-6)


def test_the_ranker_reads_the_vector_and_whether_it_is_missing(spec):
    shapes = {name: tensor.shape for name, tensor in placeholders(spec).items()}
    assert (shapes["embedding"], shapes["watched_embedding"]) == ((1, 4), (1, 1, 4))
    (column,) = (column for column in model_columns(spec) if column.name == "watched_embedding")
    values = tf.random.normal([2, 8, 4])
    assert kind_of(column).size(column, 100) == 4
    np.testing.assert_array_equal(kind_of(column).embed(values, None), values)
    # Padding may be no number.
    np.testing.assert_array_equal(kind_of(column).embed(tf.constant([[[1.0, np.nan]]]), None), [[[1.0, 0.0]]])


def test_padded_positions_change_nothing(spec, build, batch):
    """Beside the vectors' padding, what stands there is padding in the ages' column, which says so."""
    ranker = build()
    expected = ranker(batch)
    padded = batch["watched_age_s"] < 0
    assert bool(tf.reduce_any(padded))
    noise = tf.where(padded[..., tf.newaxis], 7.0, batch["watched_embedding"])
    for task, output in ranker({**batch, "watched_embedding": noise}).items():
        np.testing.assert_array_equal(output, expected[task])
    moved = tf.where(padded[..., tf.newaxis], batch["watched_embedding"], 7.0)
    assert np.abs(ranker({**batch, "watched_embedding": moved})["click"] - expected["click"]).max() > 1e-4
