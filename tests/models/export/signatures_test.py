"""The three signatures give the numbers of the trainer's model, and are what `schema.served` says."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from exported_rankers import as_if_trained, trainers_numbers
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from models.export import signatures
from models.ranker import Ranker
from models.sharing import ChosenNetworks
from schema import served as served_contract
from serving.model.saved_model import TensorSpec
from tests.models.conftest import with_model

# A process without this project, Transform or TFX: what stands in for TensorFlow Serving's loader.
PLAIN = """
import sys
import numpy as np
import tensorflow as tf
directory, signature, inputs, out = sys.argv[1:]
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], directory)
    signature = meta.signature_def[signature]
    feeds = {signature.inputs[name].name: value for name, value in np.load(inputs, allow_pickle=True).items()}
    np.savez(out, **session.run({name: info.name for name, info in signature.outputs.items()}, feeds))
assert not [name for name in sys.modules if name.split(".")[0] in ("tfx", "tensorflow_transform", "models")]
"""

TASKS = {"click", "completion", "like"}


def test_the_saved_model_gives_the_trainers_numbers(served, expected, transformed):
    outputs = served["serving_default"](examples=tf.constant(transformed.raw["eval"]))
    assert set(outputs) == TASKS
    for task, output in outputs.items():
        assert output.shape == (100, 1)
        np.testing.assert_allclose(output, expected[task], atol=1e-6)


@pytest.mark.parametrize("leading", [0, 2])
def test_predict_gives_the_trainers_numbers_wherever_the_padding_stands(
    served, expected, examples, predict_request, leading
):
    outputs = served["predict"](**predict_request(examples, leading))
    assert set(outputs) == TASKS
    for task, output in outputs.items():
        np.testing.assert_allclose(output, expected[task], atol=1e-6)


@pytest.mark.parametrize("user", range(5))
def test_rank_gives_the_numbers_of_the_same_rows_as_full_examples(served, examples, rank_request, written_out, user):
    candidates = examples[10:60]
    outputs = served["rank"](**rank_request(examples[user], candidates))
    rows = served["serving_default"](examples=written_out(examples[user], candidates))
    assert set(outputs) == {*TASKS, "score", "order"}
    for task in TASKS:
        np.testing.assert_allclose(outputs[task], rows[task][:, 0], atol=1e-6)


@pytest.mark.parametrize("signature", ["serving_default", "rank", "predict"])
def test_a_plain_session_gives_the_same_numbers_without_this_project(
    saved, served, examples, transformed, rank_request, predict_request, tmp_path, signature
):
    request = {
        "serving_default": {"examples": tf.constant(transformed.raw["eval"])},
        "rank": rank_request(examples[0], examples[:20]),
        "predict": predict_request(examples[:20]),
    }[signature]
    # The graph has a default for the exponents.
    sent = {name: np.asarray(value) for name, value in request.items() if name != "exponents"}
    np.savez(tmp_path / "inputs.npz", **sent)
    arguments = [saved, signature, str(tmp_path / "inputs.npz"), str(tmp_path / "outputs.npz")]
    subprocess.run([sys.executable, "-c", PLAIN, *arguments], check=True, cwd=tmp_path, capture_output=True)
    outputs = np.load(tmp_path / "outputs.npz")
    for name, output in served[signature](**request).items():
        np.testing.assert_allclose(outputs[name], output, atol=1e-5)


def test_the_graph_holds_stock_operations_and_no_xla(saved):
    graph = meta_graph(saved).graph_def
    functions = {function.signature.name for function in graph.library.function}
    used = {node.op for node in graph.node} | {node.op for f in graph.library.function for node in f.node_def}
    assert [op for op in used - functions if op_def_registry.get(op) is None] == []
    assert not any(function.attr["_XlaMustCompile"].b for function in graph.library.function)


def of_dtrn(spec, transformed, disturb) -> Ranker:
    return as_if_trained(with_model(spec, bottom="dtrn"), transformed, disturb)


def of_auto(spec, transformed, disturb) -> ChosenNetworks:
    shared, single_task = (
        as_if_trained(with_model(spec, routing=name), transformed, disturb) for name in ("ple", "single_task")
    )
    return ChosenNetworks(shared, single_task, {"click": "shared", "completion": "own", "like": "both"})


@pytest.mark.parametrize("made", [of_dtrn, of_auto])
def test_what_is_more_than_plain_is_served_by_stock_operations_as_it_was_trained(
    spec, transformed, disturb, examples, rank_request, written_out, tmp_path, made
):
    ranker = made(spec, transformed, disturb)
    signatures.save(ranker, transformed.output, str(tmp_path))
    test_the_graph_holds_stock_operations_and_no_xla(str(tmp_path))
    served = tf.saved_model.load(str(tmp_path)).signatures
    outputs = served["serving_default"](examples=tf.constant(transformed.raw["eval"]))
    for task, output in trainers_numbers(ranker, transformed).items():
        np.testing.assert_allclose(outputs[task], output, atol=1e-6)
    for user, count in ((0, 50), (1, 1), (2, 0)):
        candidates = examples[10 : 10 + count]
        outputs = served["rank"](**rank_request(examples[user], candidates))
        rows = served["serving_default"](examples=written_out(examples[user], candidates))
        for task in TASKS:
            np.testing.assert_allclose(outputs[task], rows[task][:, 0], atol=1e-5)


def test_the_saved_signatures_are_the_contract(saved, spec):
    """Names, types and shapes; adding a tensor to `schema.served` without the graph that uses it fails here."""

    def described(tensors):
        return {tensor.name: (tf.as_dtype(tensor.dtype), tensor.shape) for tensor in tensors}

    def as_saved(infos):
        specs = {name: TensorSpec.of(name, info) for name, info in infos.items()}
        return {name: (tensor.dtype, tensor.shape) for name, tensor in specs.items()}

    signature_def = meta_graph(saved).signature_def
    contract = served_contract.signatures(spec)
    assert {name for name in signature_def if not name.startswith("__")} == contract.keys()
    for name, signature in contract.items():
        assert as_saved(signature_def[name].inputs) == described(signature.inputs)
        assert as_saved(signature_def[name].outputs) == described(signature.outputs)
    assert set(signature_def["rank"].defaults) == {"exponents"}


def meta_graph(directory: str):
    with tf.io.gfile.GFile(f"{directory}/saved_model.pb", "rb") as file:
        return saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
