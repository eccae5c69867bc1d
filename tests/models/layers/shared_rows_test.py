import numpy as np
import pytest
import tensorflow as tf

from models.layers import (
    CrossStitch,
    CustomizedSharing,
    Experts,
    Gate,
    MultiGateMixture,
    ProgressiveExtraction,
    SharedBottom,
    SharedRows,
    SingleTask,
    StemExtraction,
    TaskFusion,
)
from models.layers.shared_rows import product


def test_the_shared_part_is_added_to_every_row():
    rows = SharedRows(shared=tf.constant([[1.0, 2.0]]), own=tf.constant([[3.0], [4.0]]))
    kernel = tf.constant([[1.0], [10.0], [100.0]])
    # 1 + 20 is the shared part's.
    assert product(rows, kernel).numpy().tolist() == [[321.0], [421.0]]
    assert rows.rows().numpy().tolist() == [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]


@pytest.mark.parametrize(
    "layer",
    [
        Experts(count=3, units=(5, 2)),
        Gate(experts=4),
        ProgressiveExtraction(tasks=2, levels=2, task_experts=2, shared_experts=1, units=(4,)),
        SharedBottom(tasks=2, units=(4,)),
        SingleTask(tasks=2, units=(4,)),
        CrossStitch(tasks=2, units=(4, 3)),
        CustomizedSharing(tasks=2, units=(4,)),
        MultiGateMixture(tasks=2, experts=2, units=(4,), levels=2),
        TaskFusion(tasks=2, levels=2, task_experts=2, shared_experts=1, units=(4,)),
        StemExtraction(tasks=2, levels=2, task_experts=2, shared_experts=1, units=(4,)),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize(("shared", "own", "count"), [(3, 2, 6), (0, 2, 6), (3, 2, 1), (3, 2, 0)])
def test_rows_that_begin_alike_give_what_they_give_written_out(layer, shared, own, count):
    layer = type(layer).from_config(layer.get_config())
    rows = SharedRows(tf.random.normal([1, shared]), tf.random.normal([count, own]))
    expected = tf.nest.flatten(layer(rows.rows()))
    for given, wanted in zip(tf.nest.flatten(layer(rows)), expected, strict=True):
        np.testing.assert_allclose(given, wanted, atol=1e-6)
