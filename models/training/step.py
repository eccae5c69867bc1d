"""One step of the optimiser, and one of evaluation, each as one compiled function of every replica's batch."""

from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf

from models.balancing import pcgrad
from models.distribution import all_reduce_sum, replica_count
from models.features import Features
from models.ranker import Ranker
from models.training.averaging import WeightAverages
from models.training.diagnostics import weight_sums
from models.training.gradients import are_regularized, regularized

# A function of a batch.
Step: TypeAlias = Callable[[Features], Any]


def train_step(model: Ranker, inputs: Features) -> tf.Tensor:
    """Takes one step of the optimiser and returns the loss of the whole batch, which the replicas share.

    Unlike TFRS's, it doesn't compute every metric's result at every step.
    """
    with tf.GradientTape(persistent=model.balancing == "pcgrad") as tape:
        # The loss of the whole batch on each replica, whose gradients the optimiser adds up.
        losses = [loss / replica_count() for loss in model.weighted_losses(inputs, training=True)]
        loss = tf.add_n(losses)
    if model.balancing == "pcgrad":
        variables, gradients = _projected_gradients(model, tape, losses, loss)
    else:
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
    if not model.sparse_tables:
        gradients = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]
    moved = [
        (gradient, variable) for gradient, variable in zip(gradients, variables, strict=True) if gradient is not None
    ]
    if are_regularized(model.spec.training):
        model.optimizer.apply_gradients(regularized(model, moved), experimental_aggregate_gradients=False)
    else:
        model.optimizer.apply_gradients(moved)
    return loss * replica_count()


def _projected_gradients(
    model: Ranker, tape: tf.GradientTape, losses: list[tf.Tensor], loss: tf.Tensor
) -> tuple[list[tf.Variable], list[tf.Tensor]]:
    """Returns the variables and their gradients: the tables' own, the network's without conflicts (PCGrad)."""
    network, tables = model.network_variables(), model.embedding_tables()
    # What conflicts is the tasks' gradients of the whole batch. Every replica projects them alike.
    by_task = [all_reduce_sum(*tape.gradient(task_loss, network, unconnected_gradients="zero")) for task_loss in losses]
    projected = pcgrad(by_task, model.steps_done(), model.spec.training.seed)
    return [*network, *tables], [*(gradient / replica_count() for gradient in projected), *tape.gradient(loss, tables)]


def training_function(model: Ranker, averages: WeightAverages | None = None) -> Step:
    """Compiles `train_step` for the model's replicas: a function of each replica's batch that returns the loss.

    Args:
      averages: what follows the weights; None if nothing does.
    """
    return _on_every_replica(model, lambda batch: train_step(model, batch), averages.update if averages else None)


def evaluation_function(model: Ranker) -> Step:
    """Compiles evaluation: a function of each replica's batch that updates metrics only and returns `weight_sums`."""
    return _on_every_replica(model, lambda batch: weight_sums(model.spec.tasks, batch, model.evaluate_batch(batch)))


def _on_every_replica(model: Ranker, step: Step, after: Callable[[], None] | None = None) -> Step:
    """Returns the first replica's result; it is identical on all. `after` runs once all have taken the step."""
    strategy = model.distribute_strategy

    # Nothing in a step branches on a tensor, so that there is nothing to convert, which takes as long as tracing.
    @tf.function(jit_compile=model.compiled == "step", autograph=False)
    def run(batch):
        results = strategy.experimental_local_results(strategy.run(step, args=(batch,)))
        if after is not None:
            after()
        return results[0]

    return run
