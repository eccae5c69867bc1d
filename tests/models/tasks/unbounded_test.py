"""Regressions without bounds, by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from models.tasks import LabelSummary, kind_of
from models.tasks.ranking_task import RankingTask
from schema.spec import Training
from schema.tasks import Task


def watch(**fields) -> Task:
    return Task.model_validate({"name": "watch_s", "column": "play_ms", "kind": "regression", **fields})


def column(*values: float) -> tf.Tensor:
    return tf.constant(values, tf.float32, [len(values), 1])


def test_the_squared_error_is_in_deviations_of_the_labels():
    kind = kind_of(watch(), deviation=4.0)
    # ((2 - 10) / 4)^2 = 4, ((5 - 7) / 4)^2 = 0.25
    np.testing.assert_allclose(kind.loss(column(10, 7), column(2, 5)), [[4.0], [0.25]])


def test_the_squared_error_of_logarithms():
    kind = kind_of(watch(transform="log1p"), deviation=0.5)
    e = math.e
    # log(1 + y) is 2 and 0, the logits 1 and 0.25: (1 / 0.5)^2 and (0.25 / 0.5)^2
    np.testing.assert_allclose(kind.loss(column(e * e - 1, 0), column(1, 0.25)), [[4.0], [0.25]], rtol=1e-5)


def test_hubers_loss_is_half_the_square_up_to_a_deviation_and_straight_beyond():
    kind = kind_of(watch(loss="huber"), deviation=2.0)
    # |d| = 0.5, 1 and 5
    np.testing.assert_allclose(kind.loss(column(1, 2, 0), column(2, 0, -10)), [[0.125], [0.5], [4.5]])


def test_the_gradient_by_the_towers_output_does_not_depend_on_the_units():
    gradients = []
    for unit in (1.0, 1000.0):
        output = tf.Variable([[0.5]], dtype=tf.float32)
        with tf.GradientTape() as tape:
            loss = kind_of(watch(), deviation=3.0 * unit).loss(column(6.0 * unit), output * (3.0 * unit))
        gradients.append(float(tape.gradient(loss, output)[0, 0]))
    # d^2 at d = 0.5 - 2
    np.testing.assert_allclose(gradients, [-3.0, -3.0], rtol=1e-5)


def test_the_link_gives_the_labels_units_back():
    np.testing.assert_allclose(kind_of(watch()).link(column(-3, 5)), [[-3.0], [5.0]])
    logarithmic = kind_of(watch(transform="log1p")).link(column(math.log(31), 0, -2, 500))
    np.testing.assert_allclose(logarithmic[:3], [[30.0], [0.0], [0.0]], rtol=1e-5)
    assert np.isfinite(logarithmic).all()


def test_it_starts_from_the_mean_where_the_loss_is_taken():
    labels = LabelSummary(10, 30.0, 0.0, 90.0, scale_mean=2.5, scale_deviation=1.5)
    kind = kind_of(watch(transform="log1p"))
    assert (kind.starts_from(labels), kind.deviation(labels)) == (2.5, 1.5)
    assert kind.deviation(LabelSummary(10, 3.0, 3.0, 3.0, 3.0, 0.0)) == 1.0


@pytest.mark.parametrize("fields", [{}, {"loss": "huber"}])
def test_only_the_squared_error_is_a_normal_distributions(fields):
    assert kind_of(watch(**fields)).is_gaussian == (fields == {})


def test_it_is_judged_by_the_squared_error_in_the_labels_units_whatever_the_loss():
    metric = kind_of(watch(transform="log1p", loss="huber"), deviation=2.0).judged_by()
    metric.update_state(column(29, 2), column(math.log(31), math.log(3)))
    # The outputs are 30 and 2.
    assert (metric.name, float(metric.result())) == ("watch_s/mse", pytest.approx(0.5, rel=1e-4))


def test_training_measures_errors_in_the_labels_units():
    task = RankingTask(watch(transform="log1p"), Training(stop_by="metrics"), deviation=2.0)
    labels, logits, space = [29.0, 2.0, 7.0], [math.log(31), math.log(2), 0.0], [1.0, 1.0, 0.0]
    task(tf.constant(labels), column(*logits), tf.constant(space))
    values = {metric.name: float(metric.result()) for metric in task.metrics}
    # Outputs 30 and 1: both are off by 1, and the variance is 13.5^2.
    assert values["watch_s/mse"] == pytest.approx(1.0, rel=1e-4)
    assert values["watch_s/mae"] == pytest.approx(1.0, rel=1e-4)
    assert values["watch_s/r2"] == pytest.approx(1 - 1 / 13.5**2, rel=1e-4)
    assert values["watch_s/loss"] == pytest.approx((math.log(31 / 30) ** 2 + math.log(2 / 3) ** 2) / 2 / 4, rel=1e-4)
