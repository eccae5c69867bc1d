"""`routing: auto`: each task keeps the network that serves it best, the one that shares or one of its own.

Two rankers are trained on the same data: PLE, and the single-task reference. Of each task the eval split decides by
its own metric, AUC or else the mean loss, between three outputs:

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
from models.tasks.ranking_task import RankingTask
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
    """Returns what each task is served best by, by its metric over the batches, those of the eval split.

    Of equal ones, and where a metric can't be told, the network that shares.
    """
    measured = {
        network: [
            RankingTask(task, shared.spec.training, deviation)
            for task, deviation in zip(shared.spec.tasks, shared.deviations, strict=True)
        ]
        for network in NETWORKS
    }

    @tf.function(autograph=False)
    def measure(batch: Features) -> None:
        for k, logits in enumerate(zip(shared.logits(batch), single_task.logits(batch), strict=True)):
            task = shared.spec.tasks[k]
            for network, logit in _by_network(*logits).items():
                measured[network][k](batch[label_name(task)], logit, batch[space_name(task)])

    for batch in batches:
        measure(batch)
    return {
        task.name: _best({network: _metrics(measured[network][k]) for network in NETWORKS})
        for k, task in enumerate(shared.spec.tasks)
    }


def _by_network(shared: tf.Tensor, single_task: tf.Tensor) -> dict[Network, tf.Tensor]:
    return {"shared": shared, "own": single_task, "both": (shared + single_task) / 2}


def _metrics(task: RankingTask) -> dict[str, float]:
    return {metric.name.partition("/")[2]: float(metric.result()) for metric in task.metrics if "/" in metric.name}


def _best(by_network: Mapping[Network, Mapping[str, float]]) -> TaskChoice:
    metric = "auc" if "auc" in by_network["shared"] else "loss"
    values = {network: metrics[metric] for network, metrics in by_network.items()}
    finite = {network: value for network, value in values.items() if math.isfinite(value)}
    pick = max if metric == "auc" else min
    best: Network = pick(finite, key=lambda network: finite[network], default="shared")
    return TaskChoice(best, metric, {network: finite.get(network) for network in NETWORKS})
