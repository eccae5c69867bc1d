"""PLE against the paper's equations, written down in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers import PLE


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def experts(pool, x: np.ndarray) -> list[np.ndarray]:
    """What each expert of a pool makes of x: a perceptron with ReLU."""
    outputs = []
    for e in range(pool.count):
        hidden = x
        for kernel, bias in zip(pool.kernels, pool.biases, strict=True):
            hidden = np.maximum(hidden @ kernel.numpy()[e].astype(float) + bias.numpy()[e], 0.0)
        outputs.append(hidden)
    return outputs


def selected(gate, x: np.ndarray, outputs: list[np.ndarray]) -> np.ndarray:
    """`w(x) S` (eq. 2), with `w(x) = softmax(W x)` (eq. 3)."""
    weights = softmax(x @ gate.kernel.numpy().astype(float))
    return sum(weights[:, e : e + 1] * output for e, output in enumerate(outputs))


def ple_in_numpy(ple: PLE, inputs: list[np.ndarray]) -> list[np.ndarray]:
    streams, common = inputs, sum(inputs) / len(inputs)
    for j, level in enumerate(ple.extractions, start=1):
        of_task = [experts(pool, x) for pool, x in zip(level.pools, streams, strict=False)]
        of_all = experts(level.pools[-1], common)
        # eq. 4 and 7: a task's own experts, then the shared ones
        fused = [selected(level.gates[k], streams[k], of_task[k] + of_all) for k in range(ple.tasks)]
        if j < ple.levels:
            # The shared gate is over every expert of the level.
            common = selected(level.gates[-1], common, [*(output for pool in of_task for output in pool), *of_all])
        # eq. 6: what the next level reads
        streams = fused
    return streams


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("given", ["one input", "one a task"])
def test_it_is_what_the_equations_say(levels, given):
    ple = PLE(tasks=3, levels=levels, task_experts=(1, 3, 2), shared_experts=2, units=(5, 4))
    random = np.random.default_rng(1)
    x = [random.normal(size=[16, 6]).astype(np.float32) for _ in range(3)]
    x = x if given == "one a task" else x[:1] * 3
    inputs = [tf.constant(task_input) for task_input in x] if given == "one a task" else tf.constant(x[0])
    ple(inputs)
    ple.set_weights([random.normal(scale=0.7, size=weight.shape) for weight in ple.get_weights()])
    expected = ple_in_numpy(ple, x)
    for mine, theirs in zip(ple(inputs), expected, strict=True):
        assert theirs.std() > 0.1
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
