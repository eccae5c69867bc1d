"""A whole training: from the arguments of `run_fn` to the SavedModel and the records beside it."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_transform as tft

from models.distribution import MULTI_WORKER, broadcast_from_chief, check_batch_size, is_chief
from models.export import signatures
from models.precision import has_bfloat16
from models.routing import check_routing
from models.training.build import build_ranker
from models.training.loop import train_epochs
from models.training.progress import Progress, ProgressStore, fingerprint
from models.training.reading import read_training_data
from models.training.stopping import mean_loss
from models.training.warm_start import warm_start
from schema.modelling import Training
from schema.spec import RankingSpec
from schema.training_records import (
    DIAGNOSTICS_FILE,
    HISTORY_FILE,
    Diagnostics,
    EpochCosines,
    EpochRecord,
    EpochWeights,
    History,
    to_json,
)

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

_progress = logging.getLogger("fulcrum.progress")


def spec_to_train(fn_args: "FnArgs") -> RankingSpec:
    """Returns the spec that `run_fn` is given, with a Tuner's choice in it."""
    spec = RankingSpec.from_json(fn_args.custom_config["spec"])
    spec = trained_spec(spec, getattr(fn_args, "hyperparameters", None))
    check_routing(spec.model.routing)
    return spec


def trained_spec(spec: RankingSpec, hyperparameters: Mapping[str, Any] | None) -> RankingSpec:
    """Returns the spec with a Tuner's best settings, as TFX hands them on; without a Tuner, with no `tuning`."""
    if hyperparameters is None:
        return spec.model_copy(update={"tuning": None})
    return spec.tuned(hyperparameters["values"])


def train(fn_args: "FnArgs", strategy: tf.distribute.Strategy) -> None:
    """Does the work of `run_fn` on a strategy's devices.

    Of several workers each must call it, with the same arguments; only the chief writes.
    """
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
    progress = train_epochs(
        model, data.train, data.evaluation, data.examples, store, fn_args.model_run_dir, data.labels
    )

    if chief:
        if strategy.num_replicas_in_sync > 1:
            # What is saved knows nothing of replicas.
            model = build_ranker(spec, transform)
            store = ProgressStore.of(directory, model)
        store.restore_best(progress)
        signatures.save(model, transform, fn_args.serving_model_dir)
        _write_records(progress, data.examples, fn_args.model_run_dir)
        store.clear()
    if spec.training.distribution == MULTI_WORKER:
        # A worker that ends takes the chief with it.
        broadcast_from_chief(strategy, "saved")


def _announce(training: Training, strategy: tf.distribute.Strategy) -> None:
    if training.distribution != "none":
        devices = ", ".join(strategy.extended.worker_devices)
        _progress.info("%d replicas, those of this worker on %s", strategy.num_replicas_in_sync, devices)
    if training.precision == "bfloat16" and not has_bfloat16():
        _progress.warning("training.precision: the devices here have no bfloat16; it will be slower than float32")


def _write_records(progress: Progress, examples: int, directory: str) -> None:
    tf.io.gfile.makedirs(directory)
    for name, record in ((HISTORY_FILE, _history(progress, examples)), (DIAGNOSTICS_FILE, _diagnostics(progress))):
        with tf.io.gfile.GFile(f"{directory}/{name}", "w") as file:
            file.write(to_json(record))


def _history(progress: Progress, examples: int) -> History:
    epochs = tuple(
        EpochRecord(**{key: value for key, value in record.items() if key != "diagnostics"})
        for record in progress.epochs
    )
    best_loss = mean_loss(epochs[progress.best_epoch - 1].eval, "eval, the best epoch")
    return History(examples, progress.best_epoch, best_loss, epochs)


def _diagnostics(progress: Progress) -> Diagnostics:
    """Returns the weights of gates and fields at the best epoch, and gradients and loss weights of every epoch."""
    by_epoch = [record["diagnostics"] for record in progress.epochs]
    best = by_epoch[progress.best_epoch - 1]
    return Diagnostics(
        best["gate_weights"],
        best["refinement_weights"],
        tuple(EpochCosines(epoch, values["gradient_cosine"]) for epoch, values in enumerate(by_epoch, 1)),
        tuple(EpochWeights(epoch, values["loss_weights"]) for epoch, values in enumerate(by_epoch, 1)),
    )
