import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tasks.ranking_task import RankingTask, SampleSpaceMean, loss_weight
from schema.spec import Task, Training
from schema.tasks import Weight

LIKE = Task(name="like", column="like")
RATIO = Task.model_validate({"name": "completion", "ratio": {"numerator": "a", "denominator": "b"}})


def loss(task: RankingTask, labels, logits, space) -> float:
    return float(task(tf.constant(labels), tf.reshape(tf.constant(logits), [-1, 1]), tf.constant(space)))


def test_the_loss_is_the_mean_over_the_sample_space_and_not_over_the_batch():
    # log(1 + e^0) = log 2 for either label at logit 0; of four examples two are in the space
    assert loss(RankingTask(LIKE), [1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 0.0, 0.0]) == pytest.approx(
        math.log(2.0)
    )


def test_a_ratio_is_a_squared_error_of_the_sigmoid():
    logit = math.log(3.0)  # sigmoid 0.75
    assert loss(RankingTask(RATIO), [0.25, 1.0], [logit, logit], [1.0, 1.0]) == pytest.approx((0.25 + 0.0625) / 2)


def test_a_ratios_cross_entropy_takes_it_for_a_probability():
    task = RankingTask(RATIO, Training(ratio_loss="cross_entropy"))
    # p = 0.75: -0.25 log p - 0.75 log(1 - p)
    expected = -0.25 * math.log(0.75) - 0.75 * math.log(0.25)
    assert loss(task, [0.25], [math.log(3.0)], [1.0]) == pytest.approx(expected)


def test_a_ratio_has_a_metric_of_its_own_where_training_stops_by_metrics():
    def names(task, **training) -> list[str]:
        return [metric.name for metric in RankingTask(task, Training(**training)).metrics]

    assert names(RATIO, stop_by="loss") == ["completion/loss"]
    assert names(RATIO, stop_by="metrics") == ["completion/loss", "completion/r2"]
    assert names(LIKE, stop_by="metrics") == names(LIKE) == ["like/loss", "like/auc"]


def test_a_batch_with_nothing_of_a_task_contributes_zero_and_no_gradient():
    logits = tf.Variable([[3.0], [4.0]])
    for task in (RankingTask(LIKE), RankingTask(RATIO)):
        with tf.GradientTape() as tape:
            value = task(tf.constant([1.0, 0.0]), logits, tf.constant([0.0, 0.0]))
        assert float(value) == 0.0
        np.testing.assert_array_equal(tape.gradient(value, logits), [[0.0], [0.0]])


def test_what_a_label_holds_outside_the_space_is_not_read():
    assert loss(RankingTask(LIKE), [1.0, math.nan], [0.0, 0.0], [1.0, 0.0]) == pytest.approx(math.log(2.0))


def test_metrics_count_every_example_of_the_space_once_whatever_batch_it_came_in():
    task = RankingTask(LIKE)
    loss(task, [1.0, 0.0], [0.0, 7.0], [1.0, 0.0])
    loss(task, [1.0, 0.0, 0.0], [2.0, -2.0, 3.0], [1.0, 1.0, 1.0])
    values = {metric.name: float(metric.result()) for metric in task.metrics}
    losses = [math.log(2.0), math.log1p(math.exp(-2.0)), math.log1p(math.exp(-2.0)), math.log1p(math.exp(3.0))]
    assert values["like/loss"] == pytest.approx(sum(losses) / 4, rel=1e-5)
    # positives at 0 and 2, negatives at -2 and 3: two of four pairs are in order
    assert values["like/auc"] == pytest.approx(0.5, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(-5, 5, width=32), st.booleans()), min_size=1, max_size=20))
def test_the_mean_over_the_space_is_the_mean_of_the_examples_in_it(rows):
    labels, logits, space = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    losses = np.logaddexp(0.0, logits) - labels * logits
    expected = losses[space > 0].mean() if space.any() else 0.0
    mean = SampleSpaceMean(tf.nn.sigmoid_cross_entropy_with_logits)
    assert float(mean(labels[:, None], logits[:, None], space)) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_loss_weight_decays_by_epoch_or_by_step():
    epoch, step = tf.constant(2, tf.int64), tf.constant(10, tf.int64)
    assert float(loss_weight(Weight(), epoch, step)) == 1.0
    assert float(loss_weight(Weight(initial=3.0, decay=0.5), epoch, step)) == pytest.approx(0.75)
    assert float(loss_weight(Weight(initial=2.0, decay=0.9, unit="step"), epoch, step)) == pytest.approx(2 * 0.9**10)
