"""The loop over epochs: train, evaluate, diagnose, keep the progress, until the eval split shows no more gain."""

import logging
import math
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import tensorflow as tf

from models.distribution import MULTI_WORKER, DistributionError, broadcast_from_chief, is_chief
from models.length_groups import Lengths
from models.ranker import Ranker
from models.tasks import LabelSummary
from models.training import reading
from models.training.diagnostics import MeanWeights, diagnose
from models.training.progress import Progress, ProgressStore
from models.training.step import Step, evaluation_function, training_function
from models.training.stopping import watched_loss
from models.training.tensorboard import EpochLogs
from schema.training_records import TaskMetrics

# What the person who waits for the run reads.
_progress = logging.getLogger("fulcrum.progress")


def train_epochs(
    model: Ranker,
    train: tf.data.Dataset,
    evaluation: tf.data.Dataset,
    examples: int,
    store: ProgressStore,
    log_dir: str,
    labels: Mapping[str, LabelSummary] | None = None,
) -> Progress:
    """Trains until the epochs are over or what is watched stops falling; goes on from what `store` has.

    What is evaluated, diagnosed and stored of each epoch are the averaged weights, where `store` has averages.

    Args:
      train, evaluation: serialised examples (`models.training.reading.serialized_examples`).
      examples: the number of train examples.
      log_dir: where TensorBoard's logs go; earlier epochs of a resumed training are written there again.
      labels: the train labels by task, which tell how much each task's metric counts (`watched_loss`).

    Returns:
      The progress; its `epochs` have the fields of `schema.training_records.EpochRecord`, and `diagnostics`.

    Raises:
      DivergedError: an eval loss is not finite.
    """
    training, strategy = model.spec.training, model.distribute_strategy
    # Examples of one user stand together on disk; these are of many.
    diagnosed_batch = reading.first_shuffled_batch(evaluation, model.spec, training.batch_size, training.seed)
    eval_batches = _distributed(evaluation, model)
    lengths = reading.sequence_lengths(train, model.spec)
    averages = store.averages
    step, eval_step = training_function(model, averages), evaluation_function(model)
    logs = EpochLogs(log_dir, ("train", "eval") if is_chief(strategy) else ())
    progress = store.load()
    if training.distribution == MULTI_WORKER:
        _check_same_start(strategy, progress, store.directory)
    if progress.done:
        _progress.info("going on after epoch %d, which an earlier run has done", progress.done)
    for record in progress.epochs:
        logs.write(record)
    epochs = training.epochs_for(examples)
    while not progress.is_over(epochs, training.patience):
        epoch = progress.done + 1
        model.epoch.assign(epoch - 1)
        started = time.perf_counter()
        # The order depends on the epoch alone, so that a resumed training sees the examples in the same one.
        train_metrics = _run(model, step, _distributed(train, model, training.seed + epoch, lengths))
        seconds = time.perf_counter() - started
        with averages.in_place() if averages else nullcontext():
            eval_metrics, mean_weights = _evaluate(model, eval_step, eval_batches)
            record = {
                "epoch": epoch,
                "seconds": round(seconds, 3),
                "examples_per_second": round(examples / seconds, 1),
                "train": train_metrics,
                "eval": eval_metrics,
                "diagnostics": diagnose(model, mean_weights, diagnosed_batch),
            }
            progress.add(record, watched_loss(training, eval_metrics, f"eval, epoch {epoch}", labels))
            store.save(progress)
        logs.write(record)
        _progress.info("%s", epoch_line(record, epochs))
    return progress


def epoch_line(record: Mapping[str, Any], epochs: int) -> str:
    """Formats an epoch's record: examples/s, then each task's eval loss and AUC, those of train in brackets."""
    tasks = []
    for name, metrics in record["eval"].items():
        values = [f"{key} {_shown(value)} ({_shown(record['train'][name][key])})" for key, value in metrics.items()]
        tasks.append(f"{name} {' '.join(values)}")
    return f"epoch {record['epoch']}/{epochs}  {record['examples_per_second']:,.0f} examples/s  " + "  ".join(tasks)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _distributed(
    records: tf.data.Dataset, model: Ranker, shuffle_seed: int | None = None, lengths: Lengths = ()
) -> tf.distribute.DistributedDataset:
    """Returns batches for the replicas of the model's strategy."""
    size = model.spec.training.batch_size
    return model.distribute_strategy.distribute_datasets_from_function(
        lambda worker: reading.batches(records, model.spec, size, shuffle_seed, worker, lengths)
    )


def _check_same_start(strategy: tf.distribute.Strategy, progress: Progress, directory: str) -> None:
    """Checks that workers go on from one epoch: else they would wait for each other for ever."""
    chiefs = int(broadcast_from_chief(strategy, str(progress.done)))
    if progress.done != chiefs:
        raise DistributionError(
            f"{directory}: this worker finds {progress.done} epochs, the chief {chiefs}; expected one that all reach"
        )


def _run(model: Ranker, step: Step, batches: Iterable) -> TaskMetrics:
    """Runs a step on every batch and returns the metrics over all of them."""
    model.reset_metrics()
    for batch in batches:
        step(batch)
    return {
        task: {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        for task, metrics in model.task_metrics().items()
    }


def _evaluate(model: Ranker, eval_step: Step, batches: Iterable) -> tuple[TaskMetrics, MeanWeights]:
    mean_weights = MeanWeights()
    return _run(model, lambda batch: mean_weights.add(eval_step(batch)), batches), mean_weights
