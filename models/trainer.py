"""`run_fn`, which TFX's Trainer calls: trains the ranker, going on where a killed run stopped, and saves it."""

import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_transform as tft

from models.distribution import MULTI_WORKER, DistributionError, check_batch_size, from_chief, is_chief, one_machine
from models.export import signatures
from models.features import table_sizes
from models.precision import has_bfloat16
from models.ranker import Ranker
from models.routing import check_routing
from models.training import reading
from models.training.diagnostics import MeanWeights, diagnose, scalars
from models.training.optimizer import (
    by_rows,
    compile_for_training,
    evaluation_function,
    training_function,
    what_to_compile,
)
from models.training.progress import Progress, ProgressStore, fingerprint
from models.training.reading import LabelSummary, TrainingDataError
from models.training.warm_start import warm_start
from models.training.worker import lead
from schema.columns import model_columns
from schema.modelling import Training
from schema.spec import RankingSpec

if TYPE_CHECKING:
    # Importing TFX takes seconds, and training needs nothing of it.
    from tfx.components.trainer.fn_args_utils import FnArgs

HISTORY_FILE, DIAGNOSTICS_FILE = "history.json", "diagnostics.json"

# What the person who waits for the run reads.
_progress = logging.getLogger("fulcrum.progress")


class DivergedError(ValueError):
    """A loss is not finite any more; the message says which and when."""


def run_fn(fn_args: "FnArgs") -> None:
    """Trains on the train files, stops early by the eval files, and saves the best epoch's model.

    `custom_config` has `spec`, the ranking spec as JSON, and optionally `checkpoint_dir`: a directory that stays the
    same when a run is repeated, where a killed training leaves its state. The result is the same as without the kill.
    With `base_model`, a SavedModel, training starts from its weights (`models.training.warm_start`).
    `hyperparameters` are a Tuner's choice (`models.tuner`) for what the spec tunes.

    Where the spec's training is distributed over several workers, this is the chief's (`models.training.worker`).

    Writes the SavedModel to `serving_model_dir`, and to `model_run_dir` TensorBoard logs, `history.json` and
    `diagnostics.json` (`models.training.diagnostics`).

    Raises:
      TrainingDataError: an empty split, or a task whose train labels are all the same.
      BaseModelError: `base_model` is of another shape.
      DivergedError: a loss is not finite.
      DistributionError: the replicas can't share a batch evenly, TF_CONFIG is not a chief's, or the chief failed.
      ValueError: an unknown routing.
    """
    spec = spec_to_train(fn_args)
    if spec.training.distribution == MULTI_WORKER:
        lead(fn_args)
    else:
        train(fn_args, one_machine(spec.training))


def spec_to_train(fn_args: "FnArgs") -> RankingSpec:
    """The spec that `run_fn` is given, with a Tuner's choice in it."""
    spec = RankingSpec.from_json(fn_args.custom_config["spec"])
    spec = trained_spec(spec, getattr(fn_args, "hyperparameters", None))
    check_routing(spec.model.routing)
    return spec


def train(fn_args: "FnArgs", strategy: tf.distribute.Strategy) -> None:
    """`run_fn` on the devices of a strategy. Of several workers each must call it with the same; the chief writes."""
    spec, chief = spec_to_train(fn_args), is_chief(strategy)
    check_batch_size(spec.training, strategy)
    _announce(spec.training, strategy)
    data = read_training_data(fn_args, spec)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    model = build_ranker(spec, transform, data.labels, data.steps(spec), strategy)
    base_model = getattr(fn_args, "base_model", None)
    if base_model:
        warm_start(model, transform, base_model)
    root = fn_args.custom_config.get("checkpoint_dir") or f"{fn_args.model_run_dir}/checkpoints"
    origin = [base_model] if base_model else []
    directory = f"{root}/{fingerprint(spec.to_json(), *data.origin, *origin)}"
    store = ProgressStore.of(directory, model, writes=chief)
    progress = train_epochs(model, data.train, data.evaluation, data.examples, store, fn_args.model_run_dir)

    if chief:
        if strategy.num_replicas_in_sync > 1:
            # What is saved knows nothing of replicas.
            model = build_ranker(spec, transform)
            store = ProgressStore.of(directory, model)
        store.restore_best(progress)
        signatures.save(model, transform, fn_args.serving_model_dir)
        _write_history(progress, data.examples, fn_args.model_run_dir)
        _write_diagnostics(progress, fn_args.model_run_dir)
        store.clear()
    if spec.training.distribution == MULTI_WORKER:
        # A worker that ends takes the chief with it.
        from_chief(strategy, "saved")


def _announce(training: Training, strategy: tf.distribute.Strategy) -> None:
    if training.distribution != "none":
        devices = ", ".join(strategy.extended.worker_devices)
        _progress.info("%d replicas, those of this worker on %s", strategy.num_replicas_in_sync, devices)
    if training.precision == "bfloat16" and not has_bfloat16():
        _progress.warning("training.precision: the devices here have no bfloat16; it will be slower than float32")


def trained_spec(spec: RankingSpec, hyperparameters: Mapping[str, Any] | None) -> RankingSpec:
    """The spec with the best settings of a Tuner, as TFX hands them on; as it stands where no Tuner was run."""
    if hyperparameters is None:
        return spec.model_copy(update={"tuning": None})
    return spec.tuned(hyperparameters["values"])


@dataclass(frozen=True)
class TrainingData:
    """Serialised examples of both splits, the number of train examples and their labels by task, and where from."""

    train: tf.data.Dataset
    evaluation: tf.data.Dataset
    examples: int
    labels: dict[str, LabelSummary]
    origin: tuple[Any, ...]

    def steps(self, spec: RankingSpec) -> int:
        return spec.training.epochs * self.examples // spec.training.batch_size


def read_training_data(fn_args: "FnArgs", spec: RankingSpec) -> TrainingData:
    """What is trained and stopped on.

    Raises:
      TrainingDataError: an empty split, or a task whose train labels are all the same.
    """
    train_files = reading.example_files(fn_args.train_files, "train")
    eval_files = reading.example_files(fn_args.eval_files, "eval")
    train, evaluation = reading.serialized_examples(train_files), reading.serialized_examples(eval_files)
    examples, labels = _checked_labels(train, evaluation, spec)
    _progress.info("%s examples to train on", f"{examples:,}")
    return TrainingData(train, evaluation, examples, labels, (train_files, eval_files, fn_args.transform_graph_path))


def build_ranker(
    spec: RankingSpec,
    transform: tft.TFTransformOutput,
    labels: Mapping[str, LabelSummary] | None = None,
    steps: int = 0,
    strategy: tf.distribute.Strategy | None = None,
) -> Ranker:
    """The ranker with its optimiser, its weights drawn from `training.seed`.

    Args:
      labels: the train labels by task; each task starts from its base rate.
      steps: how many steps it will be trained for, which decides what is compiled.
      strategy: the devices that it will be trained on; None for one.
    """
    strategy = strategy or tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(spec.training.seed)
    names = {column.vocabulary for column in model_columns(spec) if column.vocabulary is not None}
    sizes = table_sizes(spec, {name: transform.vocabulary_size_by_name(name) for name in names})
    bias = [_log_odds(labels[task.name].mean) for task in spec.tasks] if labels else None
    sparse = by_rows(spec.training, sizes, spec.model.embedding_dim)
    with strategy.scope():
        model = Ranker(spec, sizes, bias, what_to_compile(sparse, steps, strategy.num_replicas_in_sync), sparse)
        # Creates the weights.
        model(reading.blank_batch(spec))
        compile_for_training(model)
    return model


def train_epochs(
    model: Ranker,
    train: tf.data.Dataset,
    evaluation: tf.data.Dataset,
    examples: int,
    store: ProgressStore,
    log_dir: str,
) -> Progress:
    """Trains until the epochs are over or the mean eval loss of the tasks stops falling; goes on from what `store` has.

    Args:
      train, evaluation: serialised examples (`models.training.reading.serialized_examples`).
      examples: the number of train examples.
      log_dir: where TensorBoard's logs go; earlier epochs of a resumed training are written there again.
    """
    training, strategy = model.spec.training, model.distribute_strategy
    # Examples of one user stand together on disk; these are of many.
    some_batch = next(iter(reading.batches(evaluation, model.spec, training.batch_size, training.seed)))
    eval_batches = _distributed(evaluation, model)
    train_step, eval_step = training_function(model), evaluation_function(model)
    splits = ("train", "eval") if is_chief(strategy) else ()
    writers = {split: tf.summary.create_file_writer(f"{log_dir}/{split}") for split in splits}
    progress = store.load()
    if training.distribution == MULTI_WORKER:
        _check_same_start(strategy, progress, store.directory)
    if progress.done:
        _progress.info("going on after epoch %d, which an earlier run has done", progress.done)
    for record in progress.epochs:
        _write_summaries(writers, record)
    while not progress.is_over(training.epochs, training.patience):
        epoch = progress.done + 1
        model.epoch.assign(epoch - 1)
        started = time.perf_counter()
        # The order depends on the epoch alone, so that a resumed training sees the examples in the same one.
        train_metrics = _run(model, train_step, _distributed(train, model, training.seed + epoch))
        seconds = time.perf_counter() - started
        eval_metrics, used = _evaluated(model, eval_step, eval_batches)
        record = {
            "epoch": epoch,
            "seconds": round(seconds, 3),
            "examples_per_second": round(examples / seconds, 1),
            "train": train_metrics,
            "eval": eval_metrics,
            "diagnostics": diagnose(model, used, some_batch),
        }
        progress.add(record, _mean_loss(eval_metrics, f"eval, epoch {epoch}"))
        store.save(progress)
        _write_summaries(writers, record)
        _progress.info("%s", epoch_line(record, training.epochs))
    return progress


def epoch_line(record: Mapping[str, Any], epochs: int) -> str:
    """An epoch's record as one line: examples/s, then each task's eval loss and AUC, those of train in brackets."""
    tasks = []
    for name, metrics in record["eval"].items():
        values = [f"{key} {_shown(value)} ({_shown(record['train'][name][key])})" for key, value in metrics.items()]
        tasks.append(f"{name} {' '.join(values)}")
    return f"epoch {record['epoch']}/{epochs}  {record['examples_per_second']:,.0f} examples/s  " + "  ".join(tasks)


def _checked_labels(
    train: tf.data.Dataset, evaluation: tf.data.Dataset, spec: RankingSpec
) -> tuple[int, dict[str, LabelSummary]]:
    examples, labels = reading.label_summaries(train, spec, "train")
    if problems := reading.check_labels(labels, "train"):
        raise TrainingDataError("; ".join(problems))
    for problem in reading.check_labels(reading.label_summaries(evaluation, spec, "eval")[1], "eval"):
        _progress.warning("%s: its eval metrics say little, and early stopping watches them", problem)
    return examples, labels


def _distributed(records: tf.data.Dataset, model: Ranker, shuffle_seed: int | None = None):
    """Batches for the replicas of the model's strategy."""
    size = model.spec.training.batch_size
    return model.distribute_strategy.distribute_datasets_from_function(
        lambda worker: reading.batches(records, model.spec, size, shuffle_seed, worker)
    )


def _check_same_start(strategy: tf.distribute.Strategy, progress: Progress, directory: str) -> None:
    """Workers that go on from different epochs would wait for each other for ever."""
    chiefs = int(from_chief(strategy, str(progress.done)))
    if progress.done != chiefs:
        raise DistributionError(
            f"{directory}: this worker finds {progress.done} epochs, the chief {chiefs}; expected one that all reach"
        )


def _run(model: Ranker, step, dataset) -> dict[str, dict[str, float | None]]:
    model.reset_metrics()
    for batch in dataset:
        step(batch)
    return {
        task: {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        for task, metrics in model.task_metrics().items()
    }


def _evaluated(model: Ranker, eval_step, dataset) -> tuple[dict[str, dict[str, float | None]], MeanWeights]:
    used = MeanWeights()
    return _run(model, lambda batch: used.add(eval_step(batch)), dataset), used


def _mean_loss(metrics: Mapping[str, Mapping[str, float | None]], where: str) -> float:
    losses: list[float] = []
    for task, values in metrics.items():
        loss = values["loss"]
        if loss is None:
            raise DivergedError(f"{where}: the loss of {task!r} is not finite; try a lower training.learning_rate")
        losses.append(loss)
    return sum(losses) / len(losses)


def _write_summaries(writers: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    for split, writer in writers.items():
        with writer.as_default(step=record["epoch"]):
            for task, metrics in record[split].items():
                for name, value in metrics.items():
                    if value is not None:
                        _write_scalar(f"{task}/{name}", value)
            if split == "train":
                _write_scalar("examples_per_second", record["examples_per_second"])
            else:
                for name, value in scalars(record["diagnostics"]).items():
                    _write_scalar(name, value)
        writer.flush()


def _write_scalar(name: str, value: float) -> None:
    """What `tf.summary.scalar` writes; that one wants TensorBoard itself to be installed."""
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"))
    tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)


def _write_history(progress: Progress, examples: int, directory: str) -> None:
    history = {"examples": examples, "best_epoch": progress.best_epoch, "best_loss": progress.best_loss}
    epochs = [{key: value for key, value in record.items() if key != "diagnostics"} for record in progress.epochs]
    _write_json({**history, "epochs": epochs}, f"{directory}/{HISTORY_FILE}")


def _write_diagnostics(progress: Progress, directory: str) -> None:
    """The weights of gates and fields at the best epoch, and how gradients and loss weights went over all of them."""
    found = [record["diagnostics"] for record in progress.epochs]
    best = found[progress.best_epoch - 1]
    over_time = {
        "gradient_cosine": [{"epoch": i, "pairs": each["gradient_cosine"]} for i, each in enumerate(found, 1)],
        "loss_weights": [{"epoch": i, "weights": each["loss_weights"]} for i, each in enumerate(found, 1)],
    }
    weights = {key: best[key] for key in ("gate_weights", "refinement_weights")}
    _write_json({**weights, **over_time}, f"{directory}/{DIAGNOSTICS_FILE}")


def _write_json(value: Any, path: str) -> None:
    tf.io.gfile.makedirs(path.rpartition("/")[0])
    with tf.io.gfile.GFile(path, "w") as file:
        json.dump(value, file, indent=1)


def _log_odds(rate: float) -> float:
    clipped = min(max(rate, 1e-4), 1 - 1e-4)
    return math.log(clipped / (1 - clipped))


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
