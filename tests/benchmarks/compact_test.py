import numpy as np
import pytest
import tensorflow as tf

from benchmarks.compact import CompactRanker, Recipe, Rows, Training
from schema.spec import Model

SHAPE = Model(expert_units=(8,), tower_units=(4,), embedding_dim=2, task_experts=1, shared_experts=1, levels=1)


def rows(count: int) -> Rows:
    """Two columns of four values; the first decides the first label, the number the second."""
    random = np.random.default_rng(0)
    ids, numbers = random.integers(0, 4, (count, 2)), random.normal(size=(count, 1))
    labels = np.stack([ids[:, 0] >= 2, numbers[:, 0] > 0], axis=1)
    return Rows((ids + np.array([0, 4])).astype(np.int32), numbers.astype(np.float32), labels.astype(np.float32))


def test_training_learns_and_scores_each_row_by_itself():
    tf.keras.utils.set_random_seed(1)
    data = rows(1024)
    recipe = Recipe(epochs=8, batch_size=32, learning_rate=0.03, averaging=0.9, steps_per_call=16)
    model = CompactRanker("ple", SHAPE, 2, table_rows=8)
    training = Training(model, data, recipe)
    before = [variable.numpy() for variable in model.trainable_variables]
    for _ in range(recipe.epochs):
        training.epoch()
    assert all(not np.allclose(a, b) for a, b in zip(before, model.trainable_variables, strict=True))
    latest = [variable.numpy() for variable in model.trainable_variables]
    scores = training.predict(data, batch_size=1000)
    assert np.mean((scores > 0) == data.labels) > 0.97
    np.testing.assert_allclose(training.predict(data.part(slice(7)), batch_size=1000), scores[:7], rtol=1e-5, atol=1e-6)
    # Scoring by the averages leaves the weights that training goes on with.
    for a, b in zip(latest, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_flops_are_two_a_weight_forwards_and_four_backwards():
    model = CompactRanker("ple", SHAPE, 2, table_rows=8)
    model((np.zeros((1, 2), np.int32), np.zeros((1, 1), np.float32)))
    # 5 inputs: 3 experts of 8, 2 gates over 2; 2 towers of 4.
    assert model.flops_per_example() == 6 * (5 * 3 * 8 + 5 * 2 * 2 + 2 * (8 * 4 + 4))


def test_tasks_that_share_nothing_have_tables_of_their_own():
    model = CompactRanker("single_task", SHAPE, 2, table_rows=8)
    model((np.zeros((1, 2), np.int32), np.zeros((1, 1), np.float32)))
    assert len(model.embeddings) == 2


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="expected at least 64, which one call takes, got 10"):
        Training(CompactRanker("ple", SHAPE, 2, 8), rows(10), Recipe(batch_size=32, steps_per_call=2))
