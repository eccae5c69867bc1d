import numpy as np
import pytest
import tensorflow as tf

from models.tasks.bucketed_auc import BUCKETS, BucketedAUC


def column(values) -> tf.Tensor:
    return tf.reshape(tf.constant(values, tf.float32), [-1, 1])


def auc(labels, logits, space=None) -> float:
    metric = BucketedAUC()
    metric.update_state(column(labels), column(logits), None if space is None else column(space))
    return float(metric.result())


def test_it_is_the_share_of_pairs_in_order_where_equal_outputs_are_half_a_pair():
    # Positives at 1 and 2, negatives at 0, 1 and 3: in order are (1, 0), (2, 0), (2, 1), and half of (1, 1).
    assert auc([1, 1, 0, 0, 0], [1, 2, 0, 1, 3]) == pytest.approx(3.5 / 6)
    assert auc([1, 1, 0, 0, 0], [1, 2, 0, 1, 3], [1, 1, 1, 1, 0]) == pytest.approx(3.5 / 4)
    assert auc([1, 1], [1, 2]) == auc([0, 0], [1, 2]) == 0.0


@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_keras_auc_over_all_batches(compiled):
    random = np.random.default_rng(1)
    ours, keras = BucketedAUC(), tf.keras.metrics.AUC(BUCKETS + 1, from_logits=True)

    @tf.function(jit_compile=compiled)
    def update(*batch):
        ours.update_state(*batch)

    for scale in (0.01, 3.0, 60.0):
        labels, space = (column(random.random(500) < share) for share in (0.2, 0.7))
        logits = column(scale * random.normal(size=500)) + labels
        update(labels, logits, space)
        keras.update_state(labels, logits, space)
        assert float(ours.result()) == pytest.approx(float(keras.result()), abs=1e-6)
    ours.reset_state()
    assert float(ours.result()) == 0.0
