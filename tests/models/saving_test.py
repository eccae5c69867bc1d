"""What becomes of a whole ranker when it is saved: in every form it comes back as it was."""

import inspect
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from models.bottom import BOTTOMS
from models.embeddings import Embeddings
from models.ranker import Ranker
from models.routing import ROUTINGS
from schema.columns import model_columns


def assert_equal(outputs, expected) -> None:
    assert set(outputs) == set(expected)
    for task, output in outputs.items():
        np.testing.assert_array_equal(output, expected[task])


# Every ranker with few columns, and one on each bottom with every kind of column.
@pytest.mark.parametrize(
    ("routing", "bottom", "lean"),
    [*itertools.product(ROUTINGS, BOTTOMS, [True]), *itertools.product(["ple"], BOTTOMS, [False])],
)
def test_a_ranker_is_the_same_after_saving_in_every_form(build, disturb, batch, tmp_path, routing, bottom, lean):
    ranker = build(lean=lean, routing=routing, bottom=bottom)
    features = {column.name: batch[column.name] for column in model_columns(ranker.spec)}
    fresh = ranker(features)
    disturb(ranker)
    expected = ranker(features)
    assert all(np.abs(fresh[task] - expected[task]).max() > 1e-3 for task in expected)

    twin = Ranker.from_config(json.loads(json.dumps(ranker.get_config())))
    assert twin.get_config() == ranker.get_config()
    twin(features)
    twin.set_weights(ranker.get_weights())
    assert_equal(twin(features), expected)

    ranker.save_weights(tmp_path / "weights.h5")
    twin.set_weights([np.zeros_like(weight) for weight in twin.get_weights()])
    twin.load_weights(tmp_path / "weights.h5")
    assert_equal(twin(features), expected)

    ranker.save(tmp_path / "ranker.keras")
    loaded = tf.keras.models.load_model(tmp_path / "ranker.keras")
    assert isinstance(loaded, Ranker)
    assert_equal(loaded(features), expected)

    # Tracks the variables alone, as what is served does (`models.export.signatures`).
    module = tf.Module()
    module.weights = ranker.variables
    inputs = {name: tf.TensorSpec([None, *value.shape[1:]], value.dtype, name) for name, value in features.items()}
    module.score = tf.function(ranker.call, input_signature=[inputs], autograph=False)
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"score": module.score})
    outputs = tf.saved_model.load(str(tmp_path / "saved")).signatures["score"](**features)
    # A graph may be fused otherwise than the operations one by one.
    for task, output in outputs.items():
        np.testing.assert_allclose(output, expected[task], atol=1e-6)


@pytest.mark.parametrize("bottom", BOTTOMS)
def test_a_bottom_is_the_same_after_saving_in_a_keras_model_of_ones_own(build, disturb, batch, tmp_path, bottom):
    ranker = build(bottom=bottom)
    features = {column.name: batch[column.name] for column in model_columns(ranker.spec)}
    ranker(features)
    disturb(ranker)
    (encoder,) = ranker.encoders
    twin = type(encoder).from_config(json.loads(json.dumps(encoder.get_config())))
    assert twin.get_config() == encoder.get_config()
    tables = Embeddings.from_config(json.loads(json.dumps(encoder.embeddings.get_config())))
    assert tables.get_config() == encoder.embeddings.get_config()
    assert (tables.columns, tables.dim) == (encoder.embeddings.columns, 4)
    inputs = {name: tf.keras.Input(value.shape[1:], dtype=value.dtype) for name, value in features.items()}
    model = tf.keras.Model(inputs, twin(inputs))
    twin.set_weights(encoder.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    for keras_model in (model, loaded):
        for mine, theirs in zip(
            tf.nest.flatten(keras_model(features)), tf.nest.flatten(encoder(features)), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


def test_a_config_has_every_argument(build):
    ranker = build("head", bias=[0.5, -1.0, 2.0], routing="adatt", precision="bfloat16", task_experts=(1, 3, 2))
    config = ranker.get_config()
    assert set(config) == set(inspect.signature(Ranker.__init__).parameters) - {"self"}
    twin = Ranker.from_config(config)
    assert (twin.spec, twin.table_sizes) == (ranker.spec, ranker.table_sizes)
    assert (twin.compiled, twin.sparse_tables) == ("head", True)
    assert list(twin.towers.output_bias) == [0.5, -1.0, 2.0]
