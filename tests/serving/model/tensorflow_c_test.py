import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.model.errors import ServingError
from serving.model.tensorflow_c import Session, Tensor

NUMBERS = st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def there_and_back(tensor: Tensor) -> np.ndarray:
    try:
        return tensor.numpy()
    finally:
        tensor.close()


@given(array=hnp.arrays(NUMBERS, SHAPES))
@settings(max_examples=100, deadline=None)
def test_numbers_keep_their_values_types_and_shapes(array):
    for tensor in (Tensor.from_numpy(array), Tensor.from_proto(tf.make_tensor_proto(array))):
        back = there_and_back(tensor)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(back, array)


# Those of 22 bytes at most lie within a string's own memory.
EDGES = st.sampled_from([b"\0", b"a\0", b"\0" * 22, b"a" * 22, b"a" * 23])
BYTES = st.binary(max_size=22) | st.binary(max_size=40) | EDGES


@given(array=hnp.arrays(object, SHAPES, elements=BYTES))
@settings(max_examples=100, deadline=None)
def test_strings_keep_their_bytes_and_shapes(array):
    proto = tf.make_tensor_proto(array, dtype=tf.string, shape=array.shape)
    for tensor in (Tensor.from_proto(proto), Tensor.from_texts(array)):
        back = there_and_back(tensor)
        assert back.shape == array.shape
        assert back.ravel().tolist() == array.ravel().tolist()


@given(array=hnp.arrays(object, 5, elements=st.binary(max_size=22)))
@settings(max_examples=20, deadline=None)
def test_a_session_reads_short_texts_as_any(echo, array):
    session, inputs, outputs = echo
    texts = Tensor.from_texts(array)
    (back,) = session.run({"x": texts}, inputs, outputs)
    texts.close()
    assert there_and_back(back).tolist() == [text + text for text in array]


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    module, folder = tf.Module(), str(tmp_path_factory.mktemp("echo"))
    function = tf.function(lambda x: {"y": tf.strings.join([x, x])}, [tf.TensorSpec([None], tf.string, "x")])
    tf.saved_model.save(module, folder, signatures=function)
    session = Session(folder)
    definition = session.meta_graph.signature_def["serving_default"]
    yield (
        session,
        {"x": session.endpoint(definition.inputs["x"].name)},
        [session.endpoint(definition.outputs["y"].name)],
    )
    session.close()


def test_a_tensor_given_back_can_not_be_read():
    tensor = Tensor.from_numpy(np.ones(3))
    tensor.close()
    tensor.close()
    with pytest.raises(RuntimeError, match="given back"):
        tensor.numpy()


def test_a_folder_that_is_no_saved_model_is_refused_with_tensorflows_reason(tmp_path):
    with pytest.raises(ServingError, match="SavedModel"):
        Session(tmp_path)


def test_a_session_runs_the_signature_of_a_saved_model(toys):
    session = Session(toys(3))
    definition = session.meta_graph.signature_def["serving_default"]
    x = Tensor.from_numpy(np.array([1.0, 2.0], np.float32))
    inputs = {"x": session.endpoint(definition.inputs["x"].name)}
    (y,) = session.run({"x": x}, inputs, [session.endpoint(definition.outputs["y"].name)])
    assert there_and_back(y).tolist() == [5.0, 7.0]
    with pytest.raises(ServingError, match="no operation 'nowhere'"):
        session.endpoint("nowhere:0")
    x.close()
    session.close()
    session.close()
