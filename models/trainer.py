"""`run_fn`, which TFX's Trainer calls."""

from typing import TYPE_CHECKING

from models.distribution import MULTI_WORKER, local_strategy
from models.training.run import spec_to_train, train
from models.training.worker import run_chief

if TYPE_CHECKING:
    # Importing TFX takes seconds, and training needs nothing of it.
    from tfx.components.trainer.fn_args_utils import FnArgs


def run_fn(fn_args: "FnArgs") -> None:
    """Trains on the train files, stops early by the eval files, and saves the best epoch's model.

    `custom_config` has `spec`, the ranking spec as JSON, and optionally `checkpoint_dir`: a directory that stays the
    same when a run is repeated, where a killed training leaves its state. The result is the same as without the kill.
    With `base_model`, a SavedModel, training starts from its weights (`models.training.warm_start`).
    `reference_model`, in `custom_config`, is the SavedModel of the single-task reference, which `routing: auto` needs.
    `hyperparameters` are a Tuner's choice (`models.tuner`) for what the spec tunes.

    Where the spec's training is distributed over several workers, this is the chief's (`models.training.worker`).

    Writes the SavedModel to `serving_model_dir`, and to `model_run_dir` TensorBoard logs, `history.json` and
    `diagnostics.json` (`schema.training_records`).

    Raises:
      TrainingDataError: an empty split, or a task whose train labels are all the same.
      BaseModelError: `base_model` is of another shape.
      DivergedError: a loss is not finite.
      DistributionError: the replicas can't share a batch evenly, TF_CONFIG is not a chief's, or the chief failed.
      SharingError: `routing: auto` without a `reference_model`.
      ValueError: an unknown routing.
    """
    spec = spec_to_train(fn_args)
    if spec.training.distribution == MULTI_WORKER:
        run_chief(fn_args)
    else:
        train(fn_args, local_strategy(spec.training))
