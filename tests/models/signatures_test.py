import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from models import signatures
from models.features import model_columns
from models.trainer import build_ranker
from schema.columns import label_name, space_name

# A process without this project, Transform or TFX: what stands in for TensorFlow Serving's loader.
PLAIN = """
import sys
import numpy as np
import tensorflow as tf
directory, examples, out = sys.argv[1:]
records = np.load(examples, allow_pickle=True)
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], directory)
    signature = meta.signature_def["serving_default"]
    outputs = {name: info.name for name, info in signature.outputs.items()}
    np.savez(out, **session.run(outputs, {signature.inputs["examples"].name: records}))
assert not [name for name in sys.modules if name.split(".")[0] in ("tfx", "tensorflow_transform", "models")]
"""


@pytest.fixture(scope="module")
def ranker(spec, transformed):
    return build_ranker(spec, transformed.output)


@pytest.fixture(scope="module")
def saved(ranker, transformed, tmp_path_factory) -> str:
    directory = str(tmp_path_factory.mktemp("saved"))
    signatures.save(ranker, transformed.output, directory)
    return directory


@pytest.fixture(scope="module")
def expected(ranker, transformed, spec) -> dict[str, np.ndarray]:
    """The trainer's model on the transformed examples, in the order of the raw ones."""
    raw = tf.io.parse_example(transformed.raw["eval"], signatures.request_feature_spec(spec))
    features = signatures.dense(transformed.output.transform_features_layer()(raw), spec)
    return {task: output.numpy() for task, output in ranker(features).items()}


def test_the_saved_model_gives_the_trainers_numbers(saved, expected, transformed):
    outputs = tf.saved_model.load(saved).signatures["serving_default"](examples=tf.constant(transformed.raw["eval"]))
    assert set(outputs) == {"click", "completion", "like"}
    for task, output in outputs.items():
        assert output.shape == (100, 1)
        np.testing.assert_allclose(output, expected[task], atol=1e-6)


def test_a_plain_session_gives_the_same_numbers_without_this_project(saved, expected, transformed, tmp_path):
    np.save(tmp_path / "examples.npy", np.array(transformed.raw["eval"], object))
    arguments = [saved, str(tmp_path / "examples.npy"), str(tmp_path / "outputs.npz")]
    subprocess.run([sys.executable, "-c", PLAIN, *arguments], check=True, cwd=tmp_path, capture_output=True)
    outputs = np.load(tmp_path / "outputs.npz")
    for task, output in expected.items():
        np.testing.assert_allclose(outputs[task], output, atol=1e-5)


def test_the_graph_holds_stock_operations_and_no_xla(saved):
    text = tf.io.gfile.GFile(f"{saved}/saved_model.pb", "rb").read()
    graph = saved_model_pb2.SavedModel.FromString(text).meta_graphs[0].graph_def
    functions = {function.signature.name for function in graph.library.function}
    used = {node.op for node in graph.node} | {node.op for f in graph.library.function for node in f.node_def}
    assert [op for op in used - functions if op_def_registry.get(op) is None] == []
    assert not any(function.attr["_XlaMustCompile"].b for function in graph.library.function)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_examples_is_served(saved, transformed, count):
    records = tf.constant(transformed.raw["eval"][:count], tf.string)
    outputs = tf.saved_model.load(saved).signatures["serving_default"](examples=records)
    assert {output.shape.as_list()[0] for output in outputs.values()} == {count}


def test_labels_and_spaces_are_not_asked_for(saved, expected, transformed, spec):
    targets = {name(task) for task in spec.tasks for name in (label_name, space_name)}
    example = tf.train.Example.FromString(transformed.raw["eval"][0])
    for name in [*targets, "timestamp"]:
        del example.features.feature[name]
    outputs = tf.saved_model.load(saved).signatures["serving_default"](
        examples=tf.constant([example.SerializeToString()])
    )
    np.testing.assert_allclose(outputs["click"], expected["click"][:1], atol=1e-6)


def test_sequences_may_be_absent_from_a_request(saved, spec, transformed):
    example = tf.train.Example.FromString(transformed.raw["eval"][0])
    for column in model_columns(spec):
        if column.ragged:
            del example.features.feature[column.name]
    outputs = tf.saved_model.load(saved).signatures["serving_default"](
        examples=tf.constant([example.SerializeToString()])
    )
    assert np.isfinite(outputs["click"]).all()
