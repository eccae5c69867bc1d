from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from models.training import averaging
from models.training.averaging import WeightAverages
from models.training.progress import Progress, ProgressStore


class Model(SimpleNamespace):
    """What averages need of a ranker: a network of one weight, a table, and the count of steps."""

    def __init__(self, decay: float, sparse: bool = False):
        self.network, self.table = tf.Variable(0.0), tf.Variable([[0.0], [0.0]])
        self.iterations = tf.Variable(0, dtype=tf.int64)
        self.spec = SimpleNamespace(training=SimpleNamespace(averaging=decay))
        self.sparse_tables, self.distribute_strategy = sparse, tf.distribute.get_strategy()
        self.trainable_variables = [self.network, self.table]
        self.optimizer = tf.train.Checkpoint(iterations=self.iterations)

    def embedding_tables(self) -> list[tf.Variable]:
        return [self.table]

    def steps_done(self) -> tf.Tensor:
        return self.iterations

    def step(self, averages: WeightAverages, value: float) -> None:
        self.network.assign(value)
        self.table.assign([[value], [2 * value]])
        self.iterations.assign_add(1)
        averages.update()


def averaged(averages: WeightAverages, model: Model) -> tuple[float, list[float]]:
    with averages.in_place():
        return float(model.network), model.table.numpy().ravel().tolist()


def test_three_steps_by_hand():
    # (1 + t) / (10 + t) of the first steps: 1/10, 2/11, and 3/12, above the decay.
    model = Model(decay=0.2)
    averages = WeightAverages.of(model)
    first = 0.9 * 1.0
    second = 2 / 11 * first + 9 / 11 * 3.0
    third = 0.2 * second + 0.8 * -2.0
    for value, expected in ((1.0, first), (3.0, second), (-2.0, third)):
        model.step(averages, value)
        network, table = averaged(averages, model)
        assert network == pytest.approx(expected, rel=1e-6)
        assert table == pytest.approx([expected, 2 * expected], rel=1e-6)
    assert (float(model.network), model.table.numpy().ravel().tolist()) == (-2.0, [-2.0, -4.0])


def test_tables_by_rows_are_averaged_at_intervals_and_for_evaluation_as_if_they_had_moved_then(monkeypatch):
    monkeypatch.setattr(averaging, "TABLE_STEPS", 2)
    model = Model(decay=0.2, sparse=True)
    averages = WeightAverages.of(model)
    table_average = averages.state[1]
    model.step(averages, 1.0)
    np.testing.assert_array_equal(table_average, [[0.0], [0.0]])
    model.step(averages, 3.0)
    # d_0 d_1 of the start, which is 0, and the rest of what the table is now.
    second = (1 - 1 / 10 * 2 / 11) * 3.0
    np.testing.assert_allclose(table_average[:, 0], [second, 2 * second], rtol=1e-6)
    model.step(averages, -2.0)
    third = 0.2 * second + 0.8 * -2.0
    assert averaged(averages, model)[1] == pytest.approx([third, 2 * third], rel=1e-6)
    # The interval begins anew; no step, no change.
    assert averaged(averages, model)[1] == pytest.approx([third, 2 * third], rel=1e-6)
    model.step(averages, 5.0)
    np.testing.assert_allclose(table_average[:, 0], [third, 2 * third], rtol=1e-6)


def test_the_best_epochs_averages_are_restored_and_a_resumed_training_goes_on_with_the_weights(tmp_path):
    model = Model(decay=0.5)
    store = ProgressStore.of(str(tmp_path), model)
    progress = Progress()
    for value, loss in ((1.0, 1.0), (3.0, 2.0)):
        model.step(store.averages, value)
        with store.averages.in_place():
            progress.add({}, loss)
            store.save(progress)

    resumed = Model(decay=0.5)
    again = ProgressStore.of(str(tmp_path), resumed)
    assert again.load() == progress
    assert float(resumed.network) == 3.0
    for trained, averages in ((model, store.averages), (resumed, again.averages)):
        trained.step(averages, 7.0)
    assert averaged(again.averages, resumed) == averaged(store.averages, model)
    again.restore_best(progress)
    assert float(resumed.network) == pytest.approx(0.9)


def test_without_a_decay_there_are_none():
    assert WeightAverages.of(Model(decay=0.0)) is None
