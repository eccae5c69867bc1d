"""An example that counts for 3 is as three of it: in losses, their gradients, metrics and what training starts from."""

import numpy as np
import pytest
import tensorflow as tf

from models.ranking_losses import contrast, pairwise_logistic
from models.tasks.ranking_task import RankingTask
from models.training.reading import label_summaries
from schema.spec import RankingSpec, Training
from schema.tasks import Task

RANDOM = np.random.default_rng(3)
ROWS = 20
LOGITS = RANDOM.normal(size=(ROWS, 2)).astype(np.float32)
LABELS = (RANDOM.random(ROWS) < 0.5).astype(np.float32)
WEIGHTS = RANDOM.integers(0, 4, ROWS).astype(np.float32)
GROUPS = RANDOM.integers(0, 4, ROWS).astype(np.int32)
TIMES = np.repeat(np.arange(ROWS), WEIGHTS.astype(int))
ONES = np.ones(len(TIMES), np.float32)

BINARY = Task(name="like", column="like")
RATIO = Task.model_validate({"name": "watched", "ratio": {"numerator": "a", "denominator": "b"}})
WATCH = Task(name="seconds", column="a", kind="regression")


def loss_and_gradient(function, logits, *others) -> tuple[float, np.ndarray]:
    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = function(variable, *others)
    return float(loss), tape.gradient(loss, variable).numpy()


def added_up(gradient: np.ndarray) -> np.ndarray:
    total = np.zeros(LOGITS.shape[:1] + gradient.shape[1:], np.float32)
    np.add.at(total, TIMES, gradient)
    return total


@pytest.mark.parametrize("task", [BINARY, RATIO, WATCH], ids=lambda task: task.name)
def test_the_loss_of_a_task_is_that_of_rows_as_often_as_they_count(task):
    ranking_task = RankingTask(task, Training())
    labels = LABELS if task is BINARY else RANDOM.random(ROWS).astype(np.float32)

    def loss(logits, labels, weights):
        return ranking_task(labels, logits, weights)

    value, gradient = loss_and_gradient(loss, LOGITS[:, :1], labels, WEIGHTS)
    metrics = {metric.name: float(metric.result()) for metric in ranking_task.metrics}
    for metric in ranking_task.metrics:
        metric.reset_state()
    expected, of_copies = loss_and_gradient(loss, LOGITS[TIMES, :1], labels[TIMES], ONES)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, added_up(of_copies), rtol=1e-4, atol=1e-7)
    assert len(metrics) > 1
    assert metrics == pytest.approx({metric.name: float(metric.result()) for metric in ranking_task.metrics}, rel=1e-4)


@pytest.mark.parametrize("loss", [pairwise_logistic, contrast])
def test_a_ranking_loss_is_that_of_rows_as_often_as_they_count(loss):
    def of_logits(logits, labels, space, groups):
        return loss(labels, logits, space, groups)

    value, gradient = loss_and_gradient(of_logits, LOGITS, LABELS, WEIGHTS, GROUPS)
    expected, of_copies = loss_and_gradient(of_logits, LOGITS[TIMES], LABELS[TIMES], ONES, GROUPS[TIMES])
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, added_up(of_copies), rtol=1e-4, atol=1e-6)


def record(label: float, weight: float) -> bytes:
    features = {"label_seconds": label, "space_seconds": weight}
    as_feature = lambda value: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))  # noqa: E731
    of_example = {name: as_feature(value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=of_example)).SerializeToString()


def test_training_starts_from_the_weighted_mean():
    spec = RankingSpec.model_validate(
        {
            "name": "shop",
            "log": {
                "layout": "impressions",
                "files": "*",
                "user": "u",
                "item": "i",
                "timestamp": {"column": "t"},
            },
            "weight": {"column": "w"},
            "tasks": [{"name": "seconds", "column": "a", "kind": "regression"}],
        }
    )
    records = [record(label, weight) for label, weight in ((1.0, 3.0), (5.0, 1.0), (9.0, 0.0))]
    examples, labels = label_summaries(tf.data.Dataset.from_tensor_slices(records), spec, "train")
    assert examples == 3
    assert (labels["seconds"].count, labels["seconds"].high) == (2, 5)
    assert labels["seconds"].mean == pytest.approx(2)
    assert labels["seconds"].scale_deviation == pytest.approx(np.std([1, 1, 1, 5]))
