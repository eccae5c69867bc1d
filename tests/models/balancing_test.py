import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from models.balancing import Uncertainty, pcgrad, projection_coefficients
from models.training.step import training_function

STEP = tf.constant(3, tf.int64)


def test_uncertainty_weighs_a_binary_loss_once_and_a_squared_error_by_half():
    uncertainty = Uncertainty([False, True])
    uncertainty.log_variances.assign([math.log(4.0), math.log(0.5)])
    np.testing.assert_allclose(uncertainty.weights(), [0.25, 1.0], rtol=1e-6)
    terms = uncertainty.losses([tf.constant(8.0), tf.constant(3.0)], [tf.constant(1.0)] * 2)
    np.testing.assert_allclose(terms, [2.0 + math.log(2.0), 3.0 - math.log(2.0) / 2.0], rtol=1e-6)


def test_a_batch_with_nothing_of_a_task_does_not_move_its_variance():
    uncertainty = Uncertainty([False, False])
    with tf.GradientTape() as tape:
        terms = uncertainty.losses([tf.constant(2.0), tf.constant(0.0)], [tf.constant(1.0), tf.constant(0.0)])
        loss = tf.add_n(terms)
    # the first: d/ds (2 exp(-s) + s/2) at 0
    np.testing.assert_allclose(tape.gradient(loss, uncertainty.log_variances), [-1.5, 0.0])


def test_variances_settle_where_they_are_twice_the_loss():
    # d/ds (L exp(-s) + s/2) = 0 at exp(s) = 2 L
    uncertainty = Uncertainty([False])
    optimizer = tf.keras.optimizers.legacy.SGD(0.5)
    for _ in range(100):
        with tf.GradientTape() as tape:
            (term,) = uncertainty.losses([tf.constant(3.0)], [tf.constant(1.0)])
        optimizer.apply_gradients([(tape.gradient(term, uncertainty.log_variances), uncertainty.log_variances)])
    np.testing.assert_allclose(tf.exp(uncertainty.log_variances), [6.0], rtol=1e-3)


def test_what_points_against_another_gradient_is_taken_away():
    # g = (1, 0) and (-1, 1): the first becomes (1/2, 1/2), the second (0, 1)
    (sum_,) = pcgrad([[tf.constant([1.0, 0.0])], [tf.constant([-1.0, 1.0])]], STEP)
    # The second number is one task's alone, and the first is shared: there they are 1 and -1, and cancel.
    np.testing.assert_allclose(sum_, [0.0, 1.0])
    coefficients = projection_coefficients(tf.constant([[1.0, -1.0], [-1.0, 2.0]]), tf.constant([[0, 1], [1, 0]]))
    np.testing.assert_allclose(coefficients, [2.0, 1.5])


def reference(gradients, order) -> np.ndarray:
    """Algorithm 1 of the paper, on the gradients themselves."""
    total = np.zeros_like(gradients[0])
    for i, row in enumerate(order):
        mine = gradients[i].copy()
        for j in row:
            if j != i and mine @ gradients[j] < 0:
                mine -= mine @ gradients[j] / (gradients[j] @ gradients[j]) * gradients[j]
        total += mine
    return total


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_coefficients_give_what_the_papers_algorithm_gives(order):
    gradients = np.random.default_rng(5).normal(size=(3, 4)).astype(np.float32)
    gradients[1] -= 2.0 * gradients[0]
    coefficients = projection_coefficients(tf.constant(gradients @ gradients.T), tf.constant([order] * 3))
    np.testing.assert_allclose(coefficients.numpy() @ gradients, reference(gradients, [order] * 3), atol=1e-4)


def test_gradients_without_conflict_add_up():
    parts = [[tf.constant([1.0, 2.0]), tf.constant([[3.0]])], [tf.constant([2.0, 1.0]), tf.constant([[0.0]])]]
    first, second = pcgrad(parts, STEP)
    np.testing.assert_allclose(first, [3.0, 3.0])
    np.testing.assert_allclose(second, [[3.0]])


def test_after_projection_two_tasks_no_longer_hurt_each_other():
    a, b = tf.constant([3.0, 1.0]), tf.constant([-2.0, 1.0])
    (sum_,) = pcgrad([[a], [b]], STEP)
    assert float(tf.tensordot(sum_, a, 1)) >= 0
    assert float(tf.tensordot(sum_, b, 1)) >= 0
    np.testing.assert_allclose(sum_, reference([a.numpy(), b.numpy()], [[0, 1], [1, 0]]), rtol=1e-5)


@pytest.mark.parametrize(("balancing", "compiled"), [("uncertainty", "nothing"), ("pcgrad", "step")])
def test_every_way_of_balancing_learns(build, build_for_training, batch, balancing, compiled):
    model = build_for_training(compiled, lean=True, balancing=balancing)
    step = training_function(model)
    for _ in range(30):
        step(batch)
    untrained = build(lean=True)
    untrained(batch)
    before, after = (sum(map(float, ranker.task_losses(batch))) for ranker in (untrained, model))
    assert after < 0.9 * before
    if balancing == "uncertainty":
        assert np.abs(model.uncertainty.log_variances).min() > 0
        np.testing.assert_allclose(model.loss_weights(), model.uncertainty.weights())
