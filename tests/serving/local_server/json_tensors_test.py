import json

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.local_server.json_tensors import parse, read_inputs, write_outputs
from serving.model.saved_model import Signature, TensorSpec


def signature(**dtypes: tf.DType) -> Signature:
    return Signature("s", {name: TensorSpec(name, dtype, None) for name, dtype in dtypes.items()}, {}, {})


def read(body: dict, signature: Signature) -> dict[str, np.ndarray]:
    return read_inputs(parse(json.dumps(body).encode()), signature)


SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)
ARRAYS = (
    hnp.arrays(np.float32, SHAPES)
    | hnp.arrays(np.int64, SHAPES)
    | hnp.arrays(np.uint64, SHAPES)
    | hnp.arrays(np.int8, SHAPES)
    | hnp.arrays(np.bool_, SHAPES)
)


@given(array=ARRAYS)
@settings(max_examples=150, deadline=None)
def test_what_is_written_reads_back_the_same_nan_and_infinity_included(array):
    written = json.loads(write_outputs({"inputs": None}, {"a": array}))["outputs"]
    back = read({"inputs": {"a": written}}, signature(a=tf.as_dtype(array.dtype)))["a"]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(leaves=st.lists(st.binary(max_size=9), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_binary_strings_survive_as_base64(leaves):
    array = np.array([*leaves, b""], dtype=object)[: len(leaves)]
    written = json.loads(write_outputs({"inputs": None}, {"a_bytes": array}))["outputs"]
    assert read({"inputs": {"a": written}}, signature(a=tf.string))["a"].tolist() == leaves


def test_rows_and_columns_say_the_same():
    declared = signature(name=tf.string, size=tf.int32)
    rows = read({"instances": [{"name": "a", "size": 1}, {"name": "b", "size": 2}]}, declared)
    columns = read({"inputs": {"name": ["a", "b"], "size": [1, 2]}}, declared)
    for inputs in (rows, columns):
        assert inputs["name"].tolist() == [b"a", b"b"]
        assert inputs["size"].tolist() == [1, 2]
        assert inputs["size"].dtype == np.int32


def test_an_empty_list_takes_the_rank_that_the_signature_states():
    declared = Signature("s", {"a": TensorSpec("a", tf.float32, (None, 4, None))}, {}, {})
    assert read({"inputs": {"a": []}}, declared)["a"].shape == (0, 4, 0)


def test_a_single_input_is_read_without_its_name_even_as_base64():
    assert read({"inputs": {"b64": "aGk="}}, signature(a=tf.string))["a"].tolist() == b"hi"
    assert read({"instances": [{"b64": "aGk="}, "ho"]}, signature(a=tf.string))["a"].tolist() == [b"hi", b"ho"]


def test_predictions_are_rows_of_named_outputs():
    outputs = {"like": np.array([0.5, 0.25]), "tags": np.array([[b"a"], [b"b"]], dtype=object)}
    assert json.loads(write_outputs({"instances": None}, outputs)) == {
        "predictions": [{"like": 0.5, "tags": ["a"]}, {"like": 0.25, "tags": ["b"]}]
    }
