from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from models.training.gradients import are_regularized, regularized
from schema.modelling import Training

KERNEL = [[3.0], [0.0]]
# Of three rows the batch reads the first once and the last twice; what it reads of the second moves nothing.
TABLE = [[1.0, 2.0], [5.0, 5.0], [-1.0, 4.0]]
SUMS = [[0.5, 0.0], [0.0, 0.0], [3.0, 1.0]]


def result(training: Training, sparse: bool) -> list[np.ndarray]:
    kernel, table = tf.Variable([[1.0], [1.0]]), tf.Variable(TABLE)
    model = SimpleNamespace(spec=SimpleNamespace(training=training), embedding_tables=lambda: [table])
    slices = tf.IndexedSlices(
        tf.constant([[0.5, 0.0], [1.0, 0.0], [2.0, 1.0], [0.0, 0.0]]), tf.constant([0, 2, 2, 1]), tf.constant([3, 2])
    )
    of_table = slices if sparse else tf.convert_to_tensor(slices)
    pairs = regularized(model, [(tf.constant(KERNEL), kernel), (of_table, table)])
    assert [variable is expected for (_, variable), expected in zip(pairs, (kernel, table), strict=True)] == [True] * 2
    assert isinstance(pairs[1][0], tf.IndexedSlices) == sparse
    return [tf.convert_to_tensor(gradient).numpy() for gradient, _ in pairs]


@pytest.mark.parametrize("sparse", [False, True])
def test_a_row_that_moves_is_penalised_once_however_often_it_is_read(sparse):
    kernel, table = result(Training(embedding_l2=0.1), sparse)
    np.testing.assert_array_equal(kernel, KERNEL)
    expected = [[0.5 + 0.2 * 1.0, 0.2 * 2.0], [0.0, 0.0], [3.0 + 0.2 * -1.0, 1.0 + 0.2 * 4.0]]
    np.testing.assert_allclose(table, expected, rtol=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
def test_all_gradients_together_are_no_longer_than_the_norm(sparse):
    norm = np.sqrt(3.0**2 + 0.5**2 + 3.0**2 + 1.0**2)
    kernel, table = result(Training(clip_norm=2.0), sparse)
    np.testing.assert_allclose(kernel, np.array(KERNEL) * 2 / norm, rtol=1e-6)
    np.testing.assert_allclose(table, np.array(SUMS) * 2 / norm, rtol=1e-6)
    kernel, table = result(Training(clip_norm=norm + 0.1), sparse)
    np.testing.assert_allclose(kernel, KERNEL, rtol=1e-6)
    np.testing.assert_allclose(table, SUMS, rtol=1e-6)


def test_the_penalty_is_clipped_with_the_rest():
    kernel, table = result(Training(clip_norm=2.0, embedding_l2=0.1), sparse=True)
    assert np.sqrt((kernel**2).sum() + (table**2).sum()) == pytest.approx(2.0)
    assert table[0, 1] / table[0, 0] == pytest.approx(0.4 / 0.7)


def test_nothing_is_done_that_the_spec_does_not_ask_for():
    assert not are_regularized(Training())
    assert are_regularized(Training(embedding_l2=0.1))
    assert are_regularized(Training(clip_norm=1.0))
