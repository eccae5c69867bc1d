"""The ranker of a spec, with its weights and its optimiser, ready to be trained."""

import math
from collections.abc import Mapping

import tensorflow as tf
import tensorflow_transform as tft

from models.features import table_sizes
from models.ranker import Ranker
from models.training import reading
from models.training.optimizer import choose_jit, compile_for_training, uses_sparse_updates
from models.training.reading import LabelSummary
from schema.columns import model_columns
from schema.spec import RankingSpec


def build_ranker(
    spec: RankingSpec,
    transform: tft.TFTransformOutput,
    labels: Mapping[str, LabelSummary] | None = None,
    steps: int = 0,
    strategy: tf.distribute.Strategy | None = None,
) -> Ranker:
    """Builds the ranker with its optimiser, its weights drawn from `training.seed`.

    Args:
      labels: the train labels by task; each task starts from its base rate.
      steps: how many steps it will be trained for, which decides what is compiled, and over which the rates fall.
      strategy: the devices that it will be trained on; None for one.
    """
    strategy = strategy or tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(spec.training.seed)
    names = {column.vocabulary for column in model_columns(spec) if column.vocabulary is not None}
    sizes = table_sizes(spec, {name: transform.vocabulary_size_by_name(name) for name in names})
    bias = [_log_odds(labels[task.name].mean) for task in spec.tasks] if labels else None
    sparse = uses_sparse_updates(spec.training, sizes, spec.model.embedding_dim)
    with strategy.scope():
        model = Ranker(spec, sizes, bias, choose_jit(sparse, steps, strategy.num_replicas_in_sync), sparse)
        # Creates the weights.
        model(reading.blank_batch(spec))
        compile_for_training(model, steps)
    return model


def _log_odds(rate: float) -> float:
    clipped = min(max(rate, 1e-4), 1 - 1e-4)
    return math.log(clipped / (1 - clipped))
