"""A ranker trained as the Trainer trains it, with the weights of its best epoch."""

import tempfile

import tensorflow_transform as tft

from models.ranker import Ranker
from models.training.build import build_ranker
from models.training.loop import train_epochs
from models.training.progress import Progress, ProgressStore
from models.training.reading import TrainingData
from schema.spec import RankingSpec


def train_ranker(spec: RankingSpec, data: TrainingData, transform: tft.TFTransformOutput) -> tuple[Ranker, Progress]:
    """Trains by the spec, and returns the ranker at its best epoch, and what is recorded of the epochs.

    Args:
      transform: what tells the vocabularies' sizes.
    """
    model = build_ranker(spec, transform, data.labels, data.steps(spec))
    with tempfile.TemporaryDirectory() as scratch:
        store = ProgressStore.of(f"{scratch}/state", model)
        progress = train_epochs(
            model, data.train, data.evaluation, data.examples, store, f"{scratch}/logs", data.labels
        )
        store.restore_best(progress)
    return model, progress
