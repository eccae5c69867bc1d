"""What a ranker's tasks make of what they share: gate weights, field weights, and where their gradients conflict."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from models.distribution import all_reduce_sum
from models.features import Features
from models.ranker import Ranker, SharingWeights
from schema.columns import space_name
from schema.spec import Task


def weight_sums(tasks: Sequence[Task], batch: Features, weights: SharingWeights) -> dict[str, Any]:
    """Sums what gates and tasks gave experts and fields over a batch's examples, those of all replicas.

    Args:
      weights: of that batch (`Ranker.evaluate_batch`).

    Returns:
      `gate_weights`: `(experts,)` by gate, `level_1/task_2`; `refinement_weights`: a scalar by task and field;
      `examples`: how many there are.
    """
    # The last batch of a split is filled up with examples outside every sample space.
    real = tf.reduce_any([batch[space_name(task)] > 0 for task in tasks], axis=0)
    counted = tf.cast(real, tf.float32)
    by_name = {"gate_weights": weights.gates, "refinement_weights": weights.refinement}
    sums = tf.nest.map_structure(lambda weight: tf.tensordot(counted, weight, 1), by_name)
    sums["examples"] = tf.reduce_sum(counted)
    return tf.nest.pack_sequence_as(sums, all_reduce_sum(*tf.nest.flatten(sums)))


class MeanWeights:
    """The mean weight of each expert by gate, and of each field by task, over all the batches that were added."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] | None = None

    def add(self, sums: dict[str, Any]) -> None:
        """Adds the `weight_sums` of a batch."""
        self._sums = sums if self._sums is None else tf.nest.map_structure(tf.add, self._sums, sums)

    def result(self, tasks: Sequence[str]) -> dict[str, Any]:
        """Returns `gate_weights` and `refinement_weights` as `diagnose` does; gates are named by the tasks."""
        sums = dict(self._sums or {"gate_weights": {}, "refinement_weights": {}, "examples": 0.0})
        examples = max(float(sums.pop("examples")), 1.0)
        means = tf.nest.map_structure(lambda weight_sum: (weight_sum / examples).numpy(), sums)
        return {
            "gate_weights": {
                re.sub(r"task_([0-9]+)$", lambda k: f"task_{tasks[int(k[1])]}", name): [*map(_rounded, weights)]
                for name, weights in means["gate_weights"].items()
            },
            "refinement_weights": {
                task: {name: _rounded(weight) for name, weight in weights.items()}
                for task, weights in means["refinement_weights"].items()
            },
        }


def diagnose(model: Ranker, mean_weights: MeanWeights, batch: Features) -> dict[str, Any]:
    """Returns the diagnostics of a ranker; neither its weights nor its metrics change.

    Args:
      mean_weights: what its gates and tasks weighed over the eval split.
      batch: what the gradients are taken of.

    Returns:
      `gate_weights`: the mean weight of each expert by gate, `level_1/task_like` (PLE, figure 8);
      `refinement_weights`: by task, the mean weight of each field (DTRN);
      `gradient_cosine`: by pair of tasks, `like|share` (`gradient_cosines`);
      `loss_weights`: by task.
    """
    tasks = [task.name for task in model.spec.tasks]
    return {
        **mean_weights.result(tasks),
        "gradient_cosine": gradient_cosines(model, batch),
        "loss_weights": dict(zip(tasks, map(_rounded, model.loss_weights()), strict=True)),
    }


def gradient_cosines(model: Ranker, batch: Features) -> dict[str, float]:
    """Returns the cosine of two tasks' gradients, over the weights that both move: below 0 they pull apart.

    Embedding tables are left out: of a large one a batch moves a few rows. A pair without such weights is left out as
    well, and so is one of which a task has no example in the batch.
    """
    variables = model.network_variables()
    with tf.GradientTape(persistent=True) as tape:
        losses = model.task_losses(batch, compute_metrics=False)
    gradients = []
    for loss in losses:
        by_variable = tape.gradient(loss, variables, unconnected_gradients="zero")
        gradients.append(tf.concat([tf.reshape(gradient, [-1]) for gradient in by_variable], axis=0))
    cosines = {}
    for (a, first), (b, second) in itertools.combinations(zip(model.spec.tasks, gradients, strict=True), 2):
        # What is one task's alone, such as its tower, the other does not move.
        both = tf.cast((first != 0.0) & (second != 0.0), tf.float32)
        norms = tf.norm(both * first) * tf.norm(both * second)
        if float(norms) > 0:
            cosines[f"{a.name}|{b.name}"] = _rounded(tf.reduce_sum(first * second) / norms)
    return {pair: cosine for pair, cosine in cosines.items() if math.isfinite(cosine)}


def scalars(diagnostics: Mapping[str, Any]) -> dict[str, float]:
    """Flattens diagnostics into one mapping, for TensorBoard: `gate_weights/level_1/task_like/0` and so on."""
    flat: dict[str, float] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping | list):
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, inner in items:
                add(f"{name}/{key}" if name else str(key), inner)
        else:
            flat[name] = value

    add("", diagnostics)
    return flat


def _rounded(value: Any) -> float:
    return round(float(value), 6)
