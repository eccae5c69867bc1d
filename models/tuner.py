"""`tuner_fn`, which TFX's Tuner calls: trains rankers of other settings, the candidates of the spec's `tuning`."""

import functools
import logging
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import keras_tuner
import tensorflow as tf
import tensorflow_transform as tft
from keras_tuner.engine import base_tuner, oracle, trial
from keras_tuner.errors import FailedTrialError, FatalError

from models.distribution import check_batch_sizes, local_strategy
from models.routing import check_routings
from models.training.build import build_ranker
from models.training.loop import train_epochs
from models.training.progress import ProgressStore, fingerprint
from models.training.reading import TrainingData, read_training_data
from models.training.stopping import DivergedError
from schema.modelling import WATCHED
from schema.spec import RankingSpec
from schema.tuning import Tuning, hyperparameter

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

OBJECTIVE = "eval_loss"

_progress = logging.getLogger("fulcrum.progress")


class TunerFnResult(NamedTuple):
    """What TFX's Tuner takes: it calls `tuner.search(**fit_kwargs)`."""

    tuner: base_tuner.BaseTuner
    fit_kwargs: dict[str, Any]


def tuner_fn(fn_args: "FnArgs") -> TunerFnResult:
    """Returns a tuner over the candidates of the spec in `custom_config`, which is as `models.trainer.run_fn` takes it.

    Raises:
      TrainingDataError: an empty split, or a task whose train labels are all the same.
      DistributionError: the replicas can't share a batch of some size evenly.
      ValueError: an unknown routing, or a spec without `tuning`.
    """
    config = fn_args.custom_config
    spec = RankingSpec.from_json(config["spec"])
    check_routings(spec)
    strategy = local_strategy(spec.training)
    check_batch_sizes(spec, strategy)
    data = read_training_data(fn_args, spec)
    root = config.get("checkpoint_dir") or fn_args.working_dir
    directory = f"{root}/{fingerprint('tuning', spec.to_json(), *data.origin)}"
    return TunerFnResult(RankerTuner(spec, data, fn_args.transform_graph_path, directory, strategy), {"verbose": 0})


class RandomCombinations(oracle.Oracle):
    """Combinations of the candidates in an order drawn from a seed, none twice; all of them where `trials` reach.

    A trial's number alone says which it is, so that a search that was killed goes on with the same ones.
    """

    def __init__(self, tuning: Tuning, seed: int):
        space = keras_tuner.HyperParameters()
        for name, values in tuning.candidates.items():
            space.Choice(name, [hyperparameter(value) for value in values])
        trials = min(tuning.trials, tuning.combinations)
        super().__init__(
            objective=keras_tuner.Objective(OBJECTIVE, "min"),
            max_trials=trials,
            hyperparameters=space,
            # One setting that doesn't train says nothing of the next.
            max_consecutive_failed_trials=trials + 1,
        )
        self._tuning = tuning
        self._order = random.Random(seed).sample(range(tuning.combinations), trials)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        chosen = self._tuning.combination(self._order[int(trial_id)])
        values = {name: hyperparameter(value) for name, value in chosen.items()}
        return {"status": trial.TrialStatus.RUNNING, "values": values}


class RankerTuner(base_tuner.BaseTuner):
    """Trains a ranker in each trial, as `models.trainer` does, and scores it by its best epoch.

    The score is what early stopping watches, the mean eval loss or 1 - the mean of the tasks' own metrics.

    Args:
      directory: what a search that was killed goes on from, within a trial too; it is removed after the search.
      strategy: the devices to train on; None for one.
    """

    def __init__(
        self,
        spec: RankingSpec,
        data: TrainingData,
        transform_graph: str,
        directory: str,
        strategy: tf.distribute.Strategy | None = None,
    ):
        if spec.tuning is None:
            raise ValueError("expected a spec with `tuning`, got one without")
        self.spec, self.data, self.transform_graph, self.strategy = spec, data, transform_graph, strategy
        parent, _, name = directory.rpartition("/")
        super().__init__(RandomCombinations(spec.tuning, spec.training.seed), directory=parent, project_name=name)

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Runs every trial that is left.

        Raises:
          DivergedError: none of the settings could be trained.
        """
        super().search(*args, **kwargs)
        (best,) = self.oracle.get_best_trials()
        if best.status != trial.TrialStatus.COMPLETED:
            tried = "; ".join(_shown(attempt.hyperparameters.values) for attempt in self.oracle.trials.values())
            raise DivergedError(
                f"tuning: the loss is not finite in any trial, tried {tried}; try a lower learning_rate"
            )
        watched = WATCHED[self.spec.training.stop_by]
        _progress.info("chosen: %s (%s %.4f)", _shown(best.hyperparameters.values), watched, best.score)
        tf.io.gfile.rmtree(self.project_dir)

    def search_space_summary(self, extended: bool = False) -> None:
        """Prints nothing, as `results_summary`: what the search does and finds is logged."""

    def results_summary(self, num_trials: int = 10) -> None:
        pass

    def run_trial(self, trial: trial.Trial, *args: Any, **kwargs: Any) -> dict[str, float]:
        _progress.info(
            "trial %d/%d: %s", int(trial.trial_id) + 1, self.oracle.max_trials, _shown(trial.hyperparameters.values)
        )
        try:
            return {OBJECTIVE: self._eval_loss(trial)}
        except DivergedError as error:
            _progress.warning("%s", error)
            raise FailedTrialError(str(error)) from error
        except Exception as error:
            # Others are no fault of the settings; KerasTuner would go on after them.
            raise FatalError(str(error)) from error

    def _eval_loss(self, trial: trial.Trial) -> float:
        spec = trial_spec(self.spec, trial.hyperparameters.values)
        # The graphs of the trial before.
        tf.keras.backend.clear_session()
        model = build_ranker(spec, self._transform, self.data.labels, self.data.steps(spec), self.strategy)
        directory = self.get_trial_dir(trial.trial_id)
        store = ProgressStore.of(f"{directory}/progress", model)
        data = self.data
        progress = train_epochs(
            model, data.train, data.evaluation, data.examples, store, f"{directory}/logs", data.labels
        )
        store.clear()
        return progress.best_loss

    @functools.cached_property
    def _transform(self) -> tft.TFTransformOutput:
        return tft.TFTransformOutput(self.transform_graph)


def trial_spec(spec: RankingSpec, hyperparameters: Mapping[str, Any]) -> RankingSpec:
    """Returns what a trial trains: the spec with these settings and the epochs of `tuning`."""
    epochs = spec.tuning.epochs if spec.tuning else None
    return spec.tuned(hyperparameters).with_training(epochs=epochs)


def _shown(hyperparameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in hyperparameters.items())
