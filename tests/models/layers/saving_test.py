"""What every layer keeps to: no argument is missing in its config, and it is the same after saving in either format.

Every argument of every layer is given here, and none is what it is by default; every weight is random.
"""

import inspect

import numpy as np
import pytest
import tensorflow as tf

import models.layers
from models.layers import (
    ConditionalLayerNorm,
    ConditionalTransformer,
    CrossStitch,
    CustomizedSharing,
    Experts,
    Gate,
    GatedExtraction,
    HyperNetwork,
    MaskedAttention,
    MaskedPooling,
    MultiGateMixture,
    ProgressiveExtraction,
    RepresentationRefinement,
    SharedBottom,
    SingleTask,
    StemExtraction,
    TaskFusion,
    TaskInterest,
    Towers,
)

X = tf.random.stateless_normal([3, 6], seed=(1, 2))
SEQUENCE, AGES = (tf.random.stateless_normal(shape, seed=(3, 4)) for shape in ([3, 5, 6], [3, 5]))
# Full, padded and empty.
MASK = tf.sequence_mask([5, 2, 0], 5)
# Of six norms: two for each of two sequential encoder layers, and two of the decoder. Parallel layers have one each.
CONDITIONS = [tf.random.stateless_normal([6, 2, 6], seed=(seed, 0)) for seed in (5, 6)]

UNITS = {"units": (5, 4), "activation": "tanh"}
DRAWN = {"kernel_initializer": "he_normal"}
LEVELS = {"tasks": 3, "levels": 2, "task_experts": (1, 2, 1), "shared_experts": 2, **UNITS, **DRAWN}
MIXTURE = {"tasks": 3, "experts": 2, **UNITS, **DRAWN}
TRANSFORMER = {"heads": 3, "feed_forward": 4, "layers": 2, "block": "sequential"}

# By name: the layer, its arguments, and what it is called with.
LAYERS = {
    "shared_bottom": (SharedBottom, {"tasks": 3, **UNITS}, (X,)),
    "single_task": (SingleTask, {"tasks": 3, **UNITS}, (X,)),
    "customized_sharing": (CustomizedSharing, {"tasks": 3, **UNITS}, (X,)),
    "cross_stitch": (CrossStitch, {"tasks": 3, "own": 0.7, **UNITS}, (X,)),
    "ml_mmoe": (MultiGateMixture, {**MIXTURE, "levels": 2}, (X,)),
    "ple": (ProgressiveExtraction, LEVELS, (X,)),
    "adatt": (TaskFusion, {**LEVELS, "native_residual": False}, (X,)),
    "stem": (StemExtraction, LEVELS, (X,)),
    "norm": (ConditionalLayerNorm, {"epsilon": 0.5}, (X, X, X)),
    "transformer": (ConditionalTransformer, TRANSFORMER, (SEQUENCE, MASK, SEQUENCE[:, :1], *CONDITIONS)),
    "experts": (Experts, {"count": 2, "last_activation": None, **UNITS, **DRAWN}, (X,)),
    "gate": (Gate, {"experts": 3, **DRAWN}, (X,)),
    "extraction": (
        GatedExtraction,
        {"task_experts": (1, 2), "shared_experts": 1, "shared_gate": True, **UNITS, **DRAWN},
        ([X, 2.0 * X, 3.0 * X],),
    ),
    "hypernetwork": (HyperNetwork, {"norms": 2, "dim": 3, "units": 4}, (X, SEQUENCE[0])),
    "attention": (MaskedAttention, {"heads": 2}, (SEQUENCE, MASK)),
    "pooling": (MaskedPooling, {}, (SEQUENCE, MASK, AGES)),
    "refinement": (
        RepresentationRefinement,
        {"tasks": 2, "reduction": 3, "weights": "sigmoid", "fields": (6, 2, 4)},
        ([X, X, 2.0 * X],),
    ),
    "interest": (
        TaskInterest,
        {"tasks": 2, "behaviours": 2, "units": 6, "condition_dim": 2, "condition_units": 3, **TRANSFORMER},
        ([SEQUENCE, 2.0 * SEQUENCE[:, :4]], [MASK, MASK[::-1, :4]], X[:, None]),
    ),
    "towers": (Towers, {"tasks": 2, "output_bias": [0.5, -1.0], **UNITS}, ([X, 2.0 * X],)),
}
# Those whose other arguments, or whose weights, are another thing.
MORE = {
    "mmoe": (MultiGateMixture, MIXTURE, (X,)),
    "cgc": (ProgressiveExtraction, {**LEVELS, "levels": 1}, (X,)),
    "adatt with its residual": (TaskFusion, LEVELS, (X,)),
    "parallel transformer": (
        ConditionalTransformer,
        {"heads": 2, "feed_forward": 4, "layers": 2},
        (SEQUENCE, MASK, SEQUENCE[:, :1], *(part[:4] for part in CONDITIONS)),
    ),
}
EVERY = {**LAYERS, **MORE}
# Keras's models want one axis in common of all inputs, which it takes for the batch.
WITHOUT_A_BATCH = (HyperNetwork, ConditionalTransformer)

layers = pytest.mark.parametrize(("kind", "arguments", "inputs"), EVERY.values(), ids=EVERY)


def randomise(layer: tf.keras.layers.Layer) -> None:
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(scale=0.5, size=weight.shape) for weight in layer.get_weights()])


def assert_equal(a, b) -> None:
    for mine, theirs in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_every_layer_is_here():
    exported = [getattr(models.layers, name) for name in models.layers.__all__]
    there = {each for each in exported if issubclass(each, tf.keras.layers.Layer)}
    assert {kind for kind, _, _ in LAYERS.values()} == there


@pytest.mark.parametrize(("kind", "arguments", "inputs"), LAYERS.values(), ids=LAYERS)
def test_a_config_has_every_argument_as_it_was_given(kind, arguments, inputs):
    # One without arguments of its own has Keras's `__init__`.
    own = inspect.signature(kind.__init__).parameters if "__init__" in vars(kind) else {}
    optional = {name: p.default is not p.empty for name, p in own.items() if name not in ("self", "kwargs")}
    assert set(arguments) == set(optional)
    config = kind(**arguments).get_config()
    bare = kind(**{name: value for name, value in arguments.items() if not optional[name]}).get_config()
    for name in arguments:
        assert name in config
        assert config[name] != bare[name] or not optional[name]


@layers
def test_a_config_builds_the_same_layer(kind, arguments, inputs):
    layer = kind(**arguments)
    twin = kind.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    layer(*inputs), twin(*inputs)
    assert [weight.name for weight in twin.weights] == [weight.name for weight in layer.weights]
    randomise(layer)
    twin.set_weights(layer.get_weights())
    assert_equal(layer(*inputs), twin(*inputs))


@layers
def test_a_layer_is_the_same_after_saving_in_either_format(kind, arguments, inputs, tmp_path):
    def symbol(x: tf.Tensor):
        return tf.keras.Input(x.shape[1:], len(x) if kind in WITHOUT_A_BATCH else None, dtype=x.dtype)

    symbolic = tf.nest.map_structure(symbol, list(inputs))
    model = tf.keras.Model(symbolic, kind(**arguments)(*symbolic))
    fresh = tf.nest.flatten(model(list(inputs)))
    randomise(model)
    expected = model(list(inputs))
    assert any(np.any(a != b) for a, b in zip(fresh, tf.nest.flatten(expected), strict=True))
    for path in (tmp_path / "model.keras", tmp_path / "model_dir"):
        model.save(path)
        loaded = tf.keras.models.load_model(path)
        assert_equal(loaded(list(inputs)), expected)
        assert_equal(loaded.get_weights(), model.get_weights())
