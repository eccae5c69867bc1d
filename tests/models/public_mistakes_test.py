"""What public implementations of PLE get wrong, read in their sources: a test for each, which ours passes."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from models.layers import CGC, PLE, STEM, AdaTT, Towers
from models.tasks.ranking_task import RankingTask, loss_weight
from schema.consistency import inconsistencies
from schema.spec import RankingSpec, Task
from schema.tasks import Weight

X = tf.random.stateless_normal([16, 6], seed=(1, 2))


@pytest.fixture(scope="module")
def ple() -> PLE:
    layer = PLE(tasks=3, levels=2, task_experts=(1, 2, 3), shared_experts=4, units=(5,))
    layer(X)
    return layer


def reached(output: tf.Tensor, tape: tf.GradientTape, variables) -> list[float]:
    gradients = tape.gradient(output, variables)
    return [0.0 if gradient is None else float(tf.reduce_sum(tf.abs(gradient))) for gradient in gradients]


@pytest.mark.parametrize("experts", [1, 2])
@pytest.mark.parametrize("routing", [PLE, AdaTT, STEM])
def test_experts_do_not_start_with_equal_weights_so_every_gate_gets_a_gradient(routing, experts):
    # DeepCTR gives one seed to all. So does a user who gives one to a layer.
    seeded = tf.keras.initializers.GlorotUniform(seed=7)
    layer = routing(3, 2, experts, experts, (6,), kernel_initializer=seeded)
    layer(X)
    kernels = {weight.name: weight.numpy() for weight in layer.weights if "experts/kernel" in weight.name}
    expert_kernels = [kernel for kernels_of_a_pool in kernels.values() for kernel in kernels_of_a_pool]
    assert len(expert_kernels) == 2 * (3 + 1) * experts
    for a, b in itertools.combinations(expert_kernels, 2):
        assert np.abs(a - b).max() > 0.1
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(output) for output in layer(X)])
    # What equal experts would leave is rounding, 1e-5.
    gates = [weight for weight in layer.trainable_weights if "gate/kernel" in weight.name]
    assert min(reached(loss, tape, gates)) > 1e-3


def test_a_seed_gives_the_same_layer_again_and_a_function_may_initialise():
    seeded = tf.keras.initializers.GlorotUniform(seed=7)
    first, second = (PLE(2, 2, 1, 1, (5,), kernel_initializer=seeded) for _ in range(2))
    for layer in (first, second):
        layer(X)
    for a, b in zip(first.extractions, second.extractions, strict=True):
        for mine, theirs in zip(a.pools, b.pools, strict=True):
            np.testing.assert_array_equal(mine.kernels[0], theirs.kernels[0])

    def ones(shape, dtype=None):
        return tf.ones(shape, dtype)

    layer = PLE(2, 1, 1, 1, (5,), kernel_initializer=ones)
    layer(X)
    np.testing.assert_array_equal(layer.extractions[0].pools[0].kernels[0], np.ones([1, 6, 5]))


def test_the_shared_pool_has_the_shared_count_and_not_the_tasks(ple):
    # DeepCTR-Torch 2022.
    for level in ple.extractions:
        assert [pool.count for pool in level.pools] == [1, 2, 3, 4]


def test_gates_of_later_levels_do_not_read_the_raw_input(ple):
    # NVIDIA Merlin.
    assert {gate.kernel.shape[0] for gate in ple.extractions[1].gates} == {5}
    assert {gate.kernel.shape[0] for gate in ple.extractions[0].gates} == {6}


def test_a_task_whose_name_begins_anothers_does_not_take_its_experts():
    # NVIDIA Merlin picks experts by `startswith`. Ours knows no names in layers, and refuses such ones in a spec.
    log = {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}}
    names = [{"name": name, "column": name} for name in ("like", "like_x")]
    with pytest.raises(ValueError, match="got 'like', a prefix of the task 'like_x'"):
        RankingSpec.model_validate({"name": "s", "log": log, "tasks": names})
    fine = RankingSpec.model_validate({"name": "s", "log": log, "tasks": names[:1]})
    assert list(inconsistencies(fine)) == []


def test_the_shared_gate_covers_the_experts_of_every_task(ple):
    # FuxiCTR, and Merlin's torch version, cover the shared ones only.
    weights = ple.gate_weights(X)
    assert weights["level_1/shared"].shape == (16, 1 + 2 + 3 + 4)


def test_there_is_no_shared_gate_at_the_last_level(ple):
    assert "level_2/shared" not in ple.gate_weights(X)
    assert [len(level.gates) for level in ple.extractions] == [4, 3]


@pytest.mark.parametrize("task", range(3))
def test_each_task_takes_its_own_experts_where_there_are_more_experts_than_tasks_or_fewer(task):
    # PaddleRec indexes them by `i * task_num + j`.
    level = CGC(task_experts=(1, 5, 2), shared_experts=1, units=(4,))
    level([X] * 4)
    with tf.GradientTape(persistent=True) as tape:
        output = level([X] * 4)[task]
    for k, pool in enumerate(level.pools):
        (gradient,) = tape.gradient(output, pool.kernels, unconnected_gradients="zero")
        by_expert = tf.reduce_sum(tf.abs(gradient), axis=[1, 2]).numpy()
        assert (by_expert > 0).all() if k in (task, 3) else not by_expert.any()


def test_neither_experts_nor_gates_nor_towers_start_constant(ple):
    # PaddleRec.
    towers = Towers(tasks=3, units=(4,))
    towers([X] * 3)
    kernels = [kernel for level in ple.extractions for pool in level.pools for kernel in pool.kernels]
    kernels += [gate.kernel for level in ple.extractions for gate in level.gates] + towers.networks.kernels
    assert min(float(tf.math.reduce_std(kernel)) for kernel in kernels) > 0.05


def test_a_gate_is_one_linear_layer_and_a_softmax(ple):
    # torch-rechub: Linear, BatchNorm, Softmax, Dropout. FuxiCTR and fun-rec: a deep perceptron.
    gate = ple.extractions[0].gates[0]
    assert [weight.shape.as_list() for weight in gate.weights] == [[6, 5]]
    for training in (False, True):
        np.testing.assert_allclose(gate(X, training=training), tf.nn.softmax(X @ gate.kernel), rtol=1e-6)


def test_gate_weights_add_up_to_one_over_experts_and_not_over_features(ple):
    # mlgb.
    for weights in ple.gate_weights(X).values():
        np.testing.assert_allclose(tf.reduce_sum(weights, axis=1), np.ones(16), rtol=1e-6)


def test_a_batch_of_one_keeps_its_axis(ple):
    # DeepCTR-Torch squeezes it away.
    assert [output.shape for output in ple(X[:1])] == [(1, 5)] * 3


def test_losses_have_sample_spaces_and_weights_a_schedule():
    # Most have neither.
    task = RankingTask(Task(name="like", column="like", weight=Weight(initial=2.0, decay=0.5)))
    loss = task(tf.constant([1.0, 0.0]), tf.constant([[0.0], [50.0]]), tf.constant([1.0, 0.0]))
    assert float(loss) == pytest.approx(math.log(2.0))
    assert float(loss_weight(task.weight, tf.constant(2, tf.int64), tf.constant(9, tf.int64))) == 0.5


def test_a_sample_space_is_averaged_over_itself_and_not_over_the_batch():
    # What a 0/1 `sample_weight` does in a plain Keras loss.
    labels, logits, space = tf.ones([8]), tf.zeros([8, 1]), tf.constant([1.0] + [0.0] * 7)
    plain = tf.keras.losses.BinaryCrossentropy(from_logits=True)(labels[:, None], logits, sample_weight=space)
    assert float(plain) == pytest.approx(math.log(2.0) / 8)
    assert float(RankingTask(Task(name="like", column="like"))(labels, logits, space)) == pytest.approx(math.log(2.0))
