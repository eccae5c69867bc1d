import numpy as np
import pytest
import tensorflow as tf

from models.tasks.explained_variance import ExplainedVariance


def explained(labels, logits, space) -> float:
    metric = ExplainedVariance(tf.sigmoid)
    for rows in np.array_split(np.arange(len(labels)), 2):
        metric.update_state(*(tf.constant(np.float32(values)[rows, None]) for values in (labels, logits, space)))
    return float(metric.result())


def test_it_is_what_numpy_says_over_the_batches_of_the_sample_space():
    random = np.random.default_rng(0)
    labels, logits, space = random.random(50), random.normal(size=50), random.random(50) < 0.6
    y, p = labels[space], 1 / (1 + np.exp(-logits[space]))
    assert explained(labels, logits, space) == pytest.approx(1 - np.mean((y - p) ** 2) / np.var(y), rel=1e-4)


def test_labels_that_do_not_vary_leave_nothing_to_explain():
    assert explained([0.5, 0.5], [0.0, 0.0], [1, 1]) == 0.0
