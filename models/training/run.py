"""A whole training: from the arguments of `run_fn` to the SavedModel and the records beside it."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_transform as tft

from models.distribution import MULTI_WORKER, broadcast_from_chief, check_batch_size, is_chief
from models.export import signatures
from models.precision import has_bfloat16
from models.ranker import Ranker
from models.routing import check_routing
from models.sharing import ChosenNetworks, SharingError, choose_networks, with_choices
from models.training import reading
from models.training.build import build_ranker
from models.training.loop import train_epochs
from models.training.progress import Progress, ProgressStore, fingerprint
from models.training.reading import TrainingData, read_training_data
from models.training.schedule import warmup_steps
from models.training.stopping import mean_loss
from models.training.warm_start import copy_units, restore, warm_start
from schema.modelling import SINGLE_TASK, Training
from schema.spec import RankingSpec
from schema.training_records import (
    DIAGNOSTICS_FILE,
    HISTORY_FILE,
    Diagnostics,
    EpochCosines,
    EpochRecord,
    EpochWeights,
    History,
    TaskChoice,
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
    if spec.chooses_networks and not fn_args.custom_config.get("reference_model"):
        raise SharingError(
            "model.routing: auto chooses between PLE and the single-task reference, and no reference was trained; "
            "expected a pipeline that was made or compiled with `auto`"
        )
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
    steps = data.steps(spec)
    if (warmup := warmup_steps(spec.training, steps)) >= steps:
        _progress.warning(
            "training.warmup: expected fewer steps than training takes, %d, got %d: the rates only rise", steps, warmup
        )
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    model = build_ranker(spec, transform, data.labels, steps, strategy)
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
            trained, model = model, build_ranker(spec, transform, data.labels)
            copy_units(trained, model)
            store = ProgressStore.of(directory, model)
        store.restore_best(progress)
        served, choices = _networks_to_serve(model, transform, data, fn_args.custom_config.get("reference_model"))
        signatures.save(served, transform, fn_args.serving_model_dir)
        _write_records(progress, data.examples, choices, fn_args.model_run_dir)
        store.clear()
    if spec.training.distribution == MULTI_WORKER:
        # A worker that ends takes the chief with it.
        broadcast_from_chief(strategy, "saved")


def _networks_to_serve(
    model: Ranker, transform: tft.TFTransformOutput, data: TrainingData, reference_model: str | None
) -> tuple[Ranker | ChosenNetworks, dict[str, TaskChoice]]:
    """Returns what is saved, and with `routing: auto` what each task chose: without a task of its own, the ranker."""
    spec = model.spec
    if not spec.chooses_networks:
        return model, {}
    assert reference_model
    single_task = build_ranker(spec.with_training(routing=SINGLE_TASK), transform, data.labels)
    restore(single_task, reference_model)
    choices = choose_networks(model, single_task, reading.batches(data.evaluation, spec, spec.training.batch_size))
    for task, choice in choices.items():
        values = "  ".join(f"{network} {value:.4f}" for network, value in choice.values.items() if value is not None)
        _progress.info("routing auto: %s is served by %s (eval %s: %s)", task, choice.network, choice.metric, values)
    return with_choices(model, single_task, choices), choices


def _announce(training: Training, strategy: tf.distribute.Strategy) -> None:
    if training.distribution != "none":
        devices = ", ".join(strategy.extended.worker_devices)
        _progress.info("%d replicas, those of this worker on %s", strategy.num_replicas_in_sync, devices)
    if training.precision == "bfloat16" and not has_bfloat16():
        _progress.warning("training.precision: the devices here have no bfloat16; it will be slower than float32")


def _write_records(progress: Progress, examples: int, choices: dict[str, TaskChoice], directory: str) -> None:
    tf.io.gfile.makedirs(directory)
    diagnostics = replace(_diagnostics(progress), choices=choices)
    for name, record in ((HISTORY_FILE, _history(progress, examples)), (DIAGNOSTICS_FILE, diagnostics)):
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
