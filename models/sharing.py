"""`routing: auto`: each task keeps the network that serves it best, the one that shares or one of its own.

Two rankers are trained on the same data: PLE, and the single-task reference. Of each task the eval split decides by
what evaluation judges it by, AUC or the mean squared error of its outputs, between three outputs:

    shared: link(z_PLE)      own: link(z_single)      both: link((z_PLE + z_single) / 2)

A task that sharing drags down is served by its own network. The mean has less variance than either, and is what most
tasks choose.
"""

import math
from collections.abc import Iterable, Mapping
from typing import get_args

import tensorflow as tf

from models.features import Features
from models.ranker import Ranker
from models.tasks import kind_of
from schema.columns import label_name, space_name
from schema.training_records import Network, TaskChoice

NETWORKS: tuple[Network, ...] = get_args(Network)


class SharingError(ValueError):
    """The choice can't be made; the message says what is missing."""


class ChosenNetworks(tf.Module):
    """A ranker of two, which scores each task by the network that was chosen for it.

    It has of a `Ranker` what is served (`models.export.signatures`). Its variables are those of the sharing ranker,
    with which a warm start goes on, and then those of the other.

    Args:
      shared, own: rankers of the same columns and tasks, whose weights exist.
      choices: a network for each task.
    """

    def __init__(self, shared: Ranker, own: Ranker, choices: Mapping[str, Network]):
        super().__init__(name="chosen_networks")
        self.spec = shared.spec
        self._shared, self._own = shared, own
        self._choices = [choices[task.name] for task in self.spec.tasks]

    @property
    def variables(self) -> list[tf.Variable]:
        return [*self._shared.variables, *self._own.variables]

    def __call__(self, features: Features) -> dict[str, tf.Tensor]:
        return self._chosen(self._shared.logits(features), self._own.logits(features))

    def score_candidates(self, features: Features) -> dict[str, tf.Tensor]:
        """Returns the outputs for one user's candidates, as `Ranker.score_candidates` does."""
        return self._chosen(self._shared.candidates_logits(features), self._own.candidates_logits(features))

    def _chosen(self, shared: list[tf.Tensor], single_task: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        by_task = zip(self._choices, shared, single_task, strict=True)
        return self._shared.outputs_of([_by_network(*logits)[choice] for choice, *logits in by_task])


def with_choices(shared: Ranker, single_task: Ranker, choices: Mapping[str, TaskChoice]) -> Ranker | ChosenNetworks:
    """Returns what serves each task by its choice: the sharing ranker alone where no task chose otherwise."""
    networks = {task: choice.network for task, choice in choices.items()}
    return shared if set(networks.values()) == {"shared"} else ChosenNetworks(shared, single_task, networks)


def choose_networks(shared: Ranker, single_task: Ranker, batches: Iterable[Features]) -> dict[str, TaskChoice]:
    """Returns what each task is served best by, by `TaskKind.judged_by` over the batches, those of the eval split.

    Of equal ones, and where a metric can't be told, the network that shares.
    """
    tasks = shared.spec.tasks
    measured = {network: [kind_of(task, shared.spec.training).judged_by() for task in tasks] for network in NETWORKS}

    @tf.function(autograph=False)
    def measure(batch: Features) -> None:
        for k, logits in enumerate(zip(shared.logits(batch), single_task.logits(batch), strict=True)):
            space = tf.reshape(batch[space_name(tasks[k])], [-1, 1])
            label = tf.where(space > 0, tf.reshape(batch[label_name(tasks[k])], [-1, 1]), 0.0)
            for network, logit in _by_network(*logits).items():
                # 0 times what is not finite is not 0.
                measured[network][k].update_state(label, tf.where(space > 0, logit, 0.0), space)

    for batch in batches:
        measure(batch)
    return {task.name: _best({network: measured[network][k] for network in NETWORKS}) for k, task in enumerate(tasks)}


def _by_network(shared: tf.Tensor, single_task: tf.Tensor) -> dict[Network, tf.Tensor]:
    return {"shared": shared, "own": single_task, "both": (shared + single_task) / 2}


def _best(by_network: Mapping[Network, tf.keras.metrics.Metric]) -> TaskChoice:
    metric = by_network["shared"].name.partition("/")[2]
    values = {network: float(measured.result()) for network, measured in by_network.items()}
    finite = {network: value for network, value in values.items() if math.isfinite(value)}
    pick = max if metric == "auc" else min
    best: Network = pick(finite, key=lambda network: finite[network], default="shared")
    return TaskChoice(best, metric, {network: finite.get(network) for network in NETWORKS})
