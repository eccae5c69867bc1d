import numpy as np
import pytest
import tensorflow as tf

from models.layers import Experts, Gate, UserItemRows
from models.layers.user_item_rows import materialize, matmul
from models.routing import ROUTINGS
from schema.spec import Model


def test_the_users_part_is_added_to_every_row():
    rows = UserItemRows(user=tf.constant([[1.0, 2.0]]), items=tf.constant([[3.0], [4.0]]))
    kernel = tf.constant([[1.0], [10.0], [100.0]])
    # 1 + 20 is the user's.
    assert matmul(rows, kernel).numpy().tolist() == [[321.0], [421.0]]
    assert rows.materialize().numpy().tolist() == [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]


MODEL = Model(levels=2, expert_units=(4,), task_experts=2)
LAYERS = {
    "experts": lambda: Experts(count=3, units=(5, 2)),
    "gate": lambda: Gate(experts=4),
    **{name: lambda factory=factory: factory.build(MODEL, 2) for name, factory in ROUTINGS.items()},
}


@pytest.mark.parametrize("build", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize(("user", "item", "count"), [(3, 2, 6), (0, 2, 6), (3, 2, 1), (3, 2, 0)])
def test_one_users_rows_give_what_they_give_written_out(build, user, item, count):
    layer, rows = build(), UserItemRows(tf.random.normal([1, user]), tf.random.normal([count, item]))
    expected = tf.nest.flatten(layer(rows.materialize()))
    for output, written_out in zip(tf.nest.flatten(layer(rows)), expected, strict=True):
        np.testing.assert_allclose(output, written_out, atol=1e-6)


def test_what_a_routing_reads_is_written_out_one_by_one():
    rows, x = UserItemRows(tf.ones([1, 2]), tf.zeros([3, 1])), tf.ones([3, 3])
    assert materialize(x) is x
    np.testing.assert_array_equal(materialize(rows), [[1.0, 1.0, 0.0]] * 3)
    np.testing.assert_array_equal(materialize([rows, x]), [rows.materialize(), x])
