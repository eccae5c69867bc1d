import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components.serving_validator.stock_ops import serving_graph
from models.bottom import BOTTOMS
from models.layers import CGC, PLE, ConditionalLayerNorm, Gate, MaskedAttention
from models.precision import has_bfloat16, precision_scope
from models.routing import ROUTINGS
from models.trainer import run_fn
from models.training.step import training_function

BFLOAT16 = "mixed_bfloat16"


def normal(seed: int, *shape: int) -> tf.Tensor:
    return tf.random.stateless_normal(shape, seed=(seed, 0))


@pytest.mark.parametrize(
    ("routing", "bottom"),
    [*((routing, "plain") for routing in ROUTINGS), *(("ple", bottom) for bottom in BOTTOMS if bottom != "plain")],
)
def test_every_ranker_trains_in_bfloat16_with_float32_weights_and_outputs(build, batch, routing, bottom):
    model = build(lean=True, precision="bfloat16", routing=routing, bottom=bottom)
    outputs = model(batch)
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    assert {output.dtype for output in outputs.values()} == {tf.float32}
    assert {variable.dtype for variable in model.trainable_variables} == {tf.float32}
    assert model.routing.compute_dtype == "bfloat16"
    exact = build(lean=True, routing=routing, bottom=bottom)
    exact(batch)
    exact.set_weights(model.get_weights())
    for task, output in exact(batch).items():
        np.testing.assert_allclose(outputs[task], output, atol=0.02)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch)
    assert loss.dtype == tf.float32
    gradients = tape.gradient(loss, model.trainable_variables)
    assert {gradient.dtype for gradient in gradients if gradient is not None} == {tf.float32}
    candidates = {name: value[:1] if name.startswith(("user", "watched")) else value for name, value in batch.items()}
    assert {output.dtype for output in model.score_candidates(candidates).values()} == {tf.float32}


def test_bfloat16_is_really_computed_in(build, batch):
    model, exact = build(lean=True, precision="bfloat16"), build(lean=True)
    model(batch), exact(batch)
    exact.set_weights(model.get_weights())
    differences = [np.abs(output - exact(batch)[task]).max() for task, output in model(batch).items()]
    assert max(differences) > 1e-6


def test_gates_choose_in_float32():
    with precision_scope("bfloat16"):
        gate = Gate(3)
    weights = gate(normal(1, 5, 4))
    assert gate.compute_dtype == "bfloat16"
    assert weights.dtype == tf.float32
    np.testing.assert_allclose(tf.reduce_sum(weights, axis=1), np.ones(5), atol=1e-6)


def test_streams_that_are_one_tensor_stay_one_product():
    """Keras' own cast makes a tensor of each item of a list, of which no two are the same."""
    x = normal(1, 6, 8)

    def products(level) -> int:
        function = tf.function(lambda x: level([x, x, x])).get_concrete_function(x)
        return sum(op.type == "MatMul" for op in function.graph.get_operations())

    levels = [CGC((1, 1), 1, (4,), dtype=dtype) for dtype in ("float32", BFLOAT16)]
    assert [products(level) for level in levels] == [1, 1]
    assert {fused.dtype for fused in levels[1]([x, x, x])} == {tf.bfloat16}


def test_layers_hand_their_precision_on_when_they_are_made_anew():
    layer = PLE(2, 2, 1, 1, (4,), dtype=BFLOAT16)
    again = PLE.from_config(layer.get_config())
    sublayers = [sublayer for sublayer in again.submodules if isinstance(sublayer, tf.keras.layers.Layer)]
    assert len(sublayers) > 10
    assert {sublayer.compute_dtype for sublayer in sublayers} == {"bfloat16"}


def test_a_norm_among_bfloat16_layers_takes_its_mean_in_float32():
    x = 1000.0 + normal(1, 2, 64)
    norm = ConditionalLayerNorm(dtype="float32")
    scale, shift = tf.ones([64]), tf.zeros([64])
    rounded = tf.cast(x, tf.bfloat16)
    np.testing.assert_allclose(norm(rounded, scale, shift), norm(tf.cast(rounded, tf.float32), scale, shift))


def test_padding_weighs_nothing_in_bfloat16():
    attention = MaskedAttention(heads=2, dtype=BFLOAT16)
    x, mask = normal(1, 3, 5, 8), tf.sequence_mask([5, 3, 1], 5)
    dirty = tf.where(mask[:, :, tf.newaxis], x, 1e4)
    real = mask[:, :, tf.newaxis]
    np.testing.assert_array_equal(
        tf.where(real, tf.cast(attention(x, mask), tf.float32), 0.0),
        tf.where(real, tf.cast(attention(dirty, mask), tf.float32), 0.0),
    )


def test_compiled_steps_learn_in_bfloat16_what_they_learn_in_float32(build_for_training, batch):
    losses = []
    for precision in ("float32", "bfloat16"):
        compiled = "step" if precision == "bfloat16" else "nothing"
        model = build_for_training(compiled, lean=True, precision=precision, routing="cgc")
        step = training_function(model)
        losses.append([float(step(batch)) for _ in range(30)])
    assert losses[1][-1] < 0.9 * losses[1][0]
    # Later on they part, as two trainings do.
    np.testing.assert_allclose(losses[0][:20], losses[1][:20], rtol=0.02)


def test_a_bfloat16_training_is_as_good_and_serves_float32(spec, trainer_arguments, tmp_path):
    # Fewer columns, for time's sake.
    smaller = {"features": (), "behaviours": spec.behaviours[:1]}
    spec = spec.model_copy(update={**smaller, "model": spec.model.model_copy(update={"routing": "cgc"})})
    aucs = {}
    for precision in ("float32", "bfloat16"):
        training = spec.training.model_copy(update={"precision": precision, "epochs": 6})
        directory = tmp_path / precision
        changed = spec.model_copy(update={"training": training})
        run_fn(FnArgs(**trainer_arguments(changed, directory)))
        epochs = json.loads((directory / "run" / "history.json").read_text())["epochs"]
        aucs[precision] = max(epoch["eval"]["click"]["auc"] for epoch in epochs)
    assert aucs["bfloat16"] == pytest.approx(aucs["float32"], abs=0.03)
    assert aucs["bfloat16"] > 0.6

    # No operation that the float32 model, which TensorFlow Serving takes, does not have; but casts.
    exact, rounded = (operations(tmp_path / precision / "model") for precision in ("float32", "bfloat16"))
    assert rounded - exact <= {"Cast"}
    model = tf.saved_model.load(str(tmp_path / "bfloat16" / "model"))
    types = {variable.dtype for variable in model.weights}
    assert types <= {tf.float32, tf.int64}
    for function in model.signatures.values():
        tensors = [*function.structured_input_signature[1].values(), *function.structured_outputs.values()]
        assert tf.bfloat16 not in {tensor.dtype for tensor in tensors}


def operations(model: Path) -> set[str]:
    graph = serving_graph(model).graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    functions = {function.signature.name for function in graph.library.function}
    return {node.op for node in nodes} - functions


def test_the_cpu_says_whether_it_has_bfloat16(tmp_path):
    info = tmp_path / "cpuinfo"
    for flags, expected in (("avx2 avx512_bf16", True), ("avx2 fma", False)):
        info.write_text(f"flags : {flags}\n")
        assert has_bfloat16(info) is expected
    assert has_bfloat16(tmp_path / "absent")
