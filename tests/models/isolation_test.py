"""Which parameters of the whole ranker a task's loss moves."""

import numpy as np
import pytest
import tensorflow as tf


def moved(tape: tf.GradientTape, loss: tf.Tensor, variable: tf.Variable) -> np.ndarray:
    """By the first axis (an expert, a task), whether the loss has any gradient there that isn't exactly 0."""
    gradient = tf.convert_to_tensor(tape.gradient(loss, variable, unconnected_gradients="zero")).numpy()
    return gradient.reshape([gradient.shape[0], -1]).any(axis=1)


@pytest.mark.parametrize("routing", ["cgc", "ple"])
def test_a_tasks_loss_moves_no_expert_gate_or_tower_of_another_task(build, disturb, batch, routing):
    model = build(lean=True, routing=routing, task_experts=(1, 3, 2))
    model(batch)
    disturb(model)
    with tf.GradientTape(persistent=True) as tape:
        losses = model.task_losses(batch, training=True, compute_metrics=False)
    *below, last = model.routing.extractions
    towers = model.towers.networks
    for task, loss in enumerate(losses):
        for owner, (pool, gate) in enumerate(zip(last.pools[:-1], last.gates, strict=True)):
            for variable in (*pool.kernels, *pool.biases):
                # Of the task's own, every expert; of another's, none.
                assert moved(tape, loss, variable).tolist() == [task == owner] * pool.count
            assert moved(tape, loss, gate.kernel).any() == (task == owner)
        for variable in (*towers.kernels, *towers.biases):
            assert moved(tape, loss, variable).tolist() == [task == owner for owner in range(3)]
        for variable in (*last.pools[-1].kernels, *last.pools[-1].biases):
            assert moved(tape, loss, variable).all()
        # Below the last level tasks meet: the shared gate covers every expert there.
        for level in below:
            assert all(moved(tape, loss, kernel).all() for pool in level.pools for kernel in pool.kernels)
            assert moved(tape, loss, level.gates[-1].kernel).any()
        assert all(moved(tape, loss, table).any() for table in model.embedding_tables())
