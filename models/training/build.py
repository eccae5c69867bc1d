"""The ranker of a spec, with its weights and its optimiser, ready to be trained."""

import logging
from collections.abc import Mapping

import tensorflow as tf
import tensorflow_transform as tft

from models.features import table_sizes
from models.ranker import Ranker
from models.tasks import LabelSummary, kind_of
from models.training import reading
from models.training.optimizer import can_compile, choose_jit, compile_for_training, uses_sparse_updates
from schema.columns import model_columns
from schema.spec import RankingSpec

_progress = logging.getLogger("fulcrum.progress")


def build_ranker(
    spec: RankingSpec,
    transform: tft.TFTransformOutput,
    labels: Mapping[str, LabelSummary] | None = None,
    steps: int = 0,
    strategy: tf.distribute.Strategy | None = None,
) -> Ranker:
    """Builds the ranker with its optimiser, its weights drawn from `training.seed`.

    Args:
      labels: the train labels by task; each task starts from its base rate, or its mean.
      steps: how many steps it will be trained for, which decides what is compiled, and over which the rates fall.
      strategy: the devices that it will be trained on; None for one.
    """
    strategy = strategy or tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(spec.training.seed)
    names = {column.vocabulary for column in model_columns(spec) if column.vocabulary is not None}
    sizes = table_sizes(spec, {name: transform.vocabulary_size_by_name(name) for name in names})
    kinds = [kind_of(task, spec.training) for task in spec.tasks]
    bias = [kind.starts_from(labels[kind.task.name]) for kind in kinds] if labels else None
    deviations = [kind.deviation(labels[kind.task.name]) for kind in kinds] if labels else None
    sparse = uses_sparse_updates(spec.training, sizes, spec.model.embedding_dim)
    with strategy.scope():
        compiled = choose_jit(sparse, steps, strategy.num_replicas_in_sync)
        if compiled != "nothing" and not can_compile():
            _progress.warning("XLA compiles no more: this process has too much memory mapped; steps take longer")
            compiled = "nothing"
        model = Ranker(spec, sizes, bias, compiled, sparse, deviations)
        # Creates the weights.
        model(reading.blank_batch(spec))
        compile_for_training(model, steps)
    return model
