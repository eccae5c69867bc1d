"""What every layer keeps to: no argument is missing in its config, and it is the same after saving in either format.

Every argument of every layer is given here, and none is what it is by default; every weight is random.
"""

import copy
import inspect
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

import models.layers
from models.bottoms.dtrn import DtrnBottom
from models.bottoms.plain import PlainBottom
from models.layers import (
    CGC,
    PLE,
    STEM,
    AdaTT,
    ConditionalLayerNorm,
    ConditionalTransformer,
    CrossStitch,
    CustomizedSharing,
    ExpertBank,
    Experts,
    FullyGatedRouting,
    Gate,
    HyperNetwork,
    LevelledRouting,
    MaskedAttention,
    MaskedPooling,
    MMoE,
    RepresentationRefinement,
    Routing,
    SharedBottom,
    SingleTask,
    TargetAttention,
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
    "ml_mmoe": (MMoE, {**MIXTURE, "levels": 2}, (X,)),
    "ple": (PLE, LEVELS, (X,)),
    "adatt": (AdaTT, {**LEVELS, "native_residual": False}, (X,)),
    "stem": (STEM, LEVELS, (X,)),
    "norm": (ConditionalLayerNorm, {"epsilon": 0.5}, (X, X, X)),
    "transformer": (ConditionalTransformer, TRANSFORMER, (SEQUENCE, MASK, SEQUENCE[:, :1], *CONDITIONS)),
    "experts": (Experts, {"count": 2, "last_activation": None, **UNITS, **DRAWN}, (X,)),
    "bank": (
        ExpertBank,
        {"pools": [Experts(1, 4), Experts(2, 4)], "gates": [Gate(3)], "joint": True},
        ([X, 2.0 * X],),
    ),
    "gate": (Gate, {"experts": 3, **DRAWN}, (X,)),
    "extraction": (
        CGC,
        {"task_experts": (1, 2), "shared_experts": 1, "shared_gate": True, **UNITS, **DRAWN},
        ([X, 2.0 * X, 3.0 * X],),
    ),
    "hypernetwork": (HyperNetwork, {"norms": 2, "dim": 3, "units": 4}, (X, SEQUENCE[0])),
    "attention": (MaskedAttention, {"heads": 2}, (SEQUENCE, MASK)),
    "pooling": (MaskedPooling, {}, (SEQUENCE, MASK, AGES)),
    "target_attention": (TargetAttention, {"units": (5, 4)}, (SEQUENCE, MASK, X)),
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
    "towers": (
        Towers,
        {"tasks": 2, "output_bias": [0.5, -1.0], "output_scale": [1.0, 3.0], "logits": 2, **UNITS},
        ([X, 2.0 * X],),
    ),
}
# Those whose other arguments, or whose weights, are another thing.
MORE = {
    "mmoe": (MMoE, MIXTURE, (X,)),
    "cgc": (PLE, {**LEVELS, "levels": 1}, (X,)),
    "adatt with its residual": (AdaTT, LEVELS, (X,)),
    "parallel transformer": (
        ConditionalTransformer,
        {"heads": 2, "feed_forward": 4, "layers": 2},
        (SEQUENCE, MASK, SEQUENCE[:, :1], *(condition[:4] for condition in CONDITIONS)),
    ),
}
EVERY = {**LAYERS, **MORE}
# Keras's models want one axis in common of all inputs, which it takes for the batch.
WITHOUT_A_BATCH = (HyperNetwork, ConditionalTransformer)

layers = pytest.mark.parametrize(("kind", "arguments", "inputs"), EVERY.values(), ids=EVERY)


def made(kind: type[tf.keras.layers.Layer], arguments: dict) -> tf.keras.layers.Layer:
    """Returns a layer of its own each time, also where arguments are layers."""
    return kind(**copy.deepcopy(arguments))


def randomise(layer: tf.keras.layers.Layer) -> None:
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(scale=0.5, size=weight.shape) for weight in layer.get_weights()])


def assert_equal(a, b) -> None:
    for mine, theirs in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_every_layer_is_here():
    exported = [getattr(models.layers, name) for name in models.layers.__all__]
    layers = {item for item in exported if inspect.isclass(item) and issubclass(item, tf.keras.layers.Layer)}
    assert {kind for kind, _, _ in LAYERS.values()} == layers - {Routing, LevelledRouting, FullyGatedRouting}


@pytest.mark.parametrize(("kind", "arguments", "inputs"), LAYERS.values(), ids=LAYERS)
def test_a_config_has_every_argument_as_it_was_given(kind, arguments, inputs):
    # One without arguments of its own has Keras's `__init__`.
    parameters = {} if kind.__init__ is tf.keras.layers.Layer.__init__ else inspect.signature(kind.__init__).parameters
    optional = {name: p.default is not p.empty for name, p in parameters.items() if name not in ("self", "kwargs")}
    assert set(arguments) == set(optional)
    config = made(kind, arguments).get_config()
    bare = kind(**{name: value for name, value in arguments.items() if not optional[name]}).get_config()
    for name in arguments:
        assert name in config
        assert config[name] != bare[name] or not optional[name]


@layers
def test_a_config_builds_the_same_layer(kind, arguments, inputs):
    layer = made(kind, arguments)
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
    model = tf.keras.Model(symbolic, made(kind, arguments)(*symbolic))
    fresh = tf.nest.flatten(model(list(inputs)))
    randomise(model)
    expected = model(list(inputs))
    assert any(np.any(a != b) for a, b in zip(fresh, tf.nest.flatten(expected), strict=True))
    for path in (tmp_path / "model.keras", tmp_path / "model_dir"):
        model.save(path)
        loaded = tf.keras.models.load_model(path)
        assert_equal(loaded(list(inputs)), expected)
        assert_equal(loaded.get_weights(), model.get_weights())


# What files of earlier versions call the layers whose names have changed since.
NAMES_IN_FILES = {
    "ProgressiveExtraction": PLE,
    "GatedExtraction": CGC,
    "MultiGateMixture": MMoE,
    "TaskFusion": AdaTT,
    "StemExtraction": STEM,
    "FeatureEncoder": PlainBottom,
    "TaskEncoder": DtrnBottom,
}


@pytest.mark.parametrize(("name", "layer"), NAMES_IN_FILES.items(), ids=NAMES_IN_FILES)
def test_files_go_on_calling_a_layer_what_they_did(name, layer):
    assert tf.keras.saving.get_registered_object(f"fulcrum>{name}") is layer
    assert tf.keras.saving.get_registered_name(layer) == f"fulcrum>{name}"
    # What Keras makes paths and names of.
    assert layer.__name__ == name


def test_a_layer_is_made_from_a_config_of_an_earlier_version():
    config = {
        "name": "routing",
        "trainable": True,
        "dtype": "float32",
        "tasks": 2,
        "levels": 2,
        "task_experts": [1, 2],
        "shared_experts": 1,
        "units": [4],
        "activation": "relu",
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
    }
    layer = tf.keras.layers.deserialize({"class_name": "fulcrum>ProgressiveExtraction", "config": config})
    assert type(layer) is PLE
    assert (layer.levels, layer.task_experts, layer.units) == (2, (1, 2), (4,))


def weights_of(*layers: str) -> list[str]:
    return [f"routing/{layer}/{name}:0" for layer in layers for name in weight_names(layer)]


def weight_names(layer: str) -> tuple[str, ...]:
    return ("kernel",) if layer.endswith("_gate") else ("kernel_0", "bias_0")


STREAMS = ("task_0", "task_1", "shared")
POOLS_THEN_GATES = [
    *(f"level_{level}_{stream}_experts" for level in (1, 2) for stream in STREAMS),
    *(f"level_1_{stream}_gate" for stream in STREAMS),
    *(f"level_2_{stream}_gate" for stream in STREAMS[:2]),
]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            PLE,
            [
                *(f"level_1/{stream}_experts" for stream in STREAMS),
                *(f"level_1/{stream}_gate" for stream in STREAMS),
                *(f"level_2/{stream}_experts" for stream in STREAMS),
                *(f"level_2/{stream}_gate" for stream in STREAMS[:2]),
            ],
        ),
        (AdaTT, POOLS_THEN_GATES),
        (STEM, POOLS_THEN_GATES),
    ],
)
def test_checkpoints_go_on_finding_the_weights_where_they_were(kind, expected):
    """Checkpoints and warm starts go by the order of the weights, `.keras` files and Keras's checkpoints by paths."""
    layer = kind(tasks=2, levels=2, task_experts=1, shared_experts=1, units=4, name="routing")
    layer(X)
    assert [weight.name for weight in layer.weights] == weights_of(*expected)
    paths = (
        [f"extractions/{level}/{pools}/{index}" for level in (0, 1) for pools in ("pools", "gates") for index in (0, 1)]
        if kind is PLE
        else [f"{pools}/{index}" for pools in ("_pools", "_gates") for index in range(5)]
    )
    for path in paths:
        node = layer
        for step in path.split("/"):
            node = node[int(step)] if step.isdigit() else getattr(node, step)
        assert isinstance(node, Experts | Gate)


def test_a_keras_file_has_the_paths_of_earlier_versions(tmp_path):
    inputs = tf.keras.Input([6])
    model = tf.keras.Model(inputs, PLE(tasks=2, levels=2, task_experts=1, shared_experts=1, units=4)(inputs))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive, archive.open("model.weights.h5") as file:
        level = h5py.File(file)["layers/progressive_extraction/extractions/gated_extraction_1"]
        assert {"experts", "experts_1", "experts_2"} <= set(level["pools"])
        assert {"gate", "gate_1"} <= set(level["gates"])
