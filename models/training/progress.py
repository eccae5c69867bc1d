"""Training progress that outlives a kill: the epochs done, the best one, and the weights of both."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import tensorflow as tf

from models.ranker import Ranker
from models.training.averaging import WeightAverages


@dataclass
class Progress:
    """The epochs trained so far, one record each, and which was the best; epochs count from 1.

    The best has the least loss, or whatever else early stopping watches (`models.training.stopping`).
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = float("inf")

    @property
    def done(self) -> int:
        return len(self.epochs)

    def add(self, record: dict[str, Any], loss: float) -> None:
        self.epochs.append(record)
        if loss < self.best_loss:
            self.best_epoch, self.best_loss = self.done, loss

    def is_over(self, epochs: int, patience: int) -> bool:
        """Returns whether all epochs are done, or more than `patience` in a row brought no lower loss."""
        return self.done >= epochs or (self.done > 0 and self.done - self.best_epoch > patience)


def fingerprint(*parts: Any) -> str:
    """Hashes what determines a training to a short name, so that none goes on from the weights of another."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class ProgressStore:
    """Keeps `Progress` and checkpoints in `directory`, the latest and the best.

    A checkpoint is first written under a new name, and becomes the latest by one rename of a small file; a kill at
    any moment leaves either the old or the new state.

    Where weights are averaged, a checkpoint is written while the ranker has the averages for its weights
    (`WeightAverages.in_place`): the best one's weights are those that were evaluated.

    Args:
      directory: of several workers that share a training, the same for all.
      checkpoint: the weights, the optimiser's state, and that of the averages.
      writes: False for all workers but one.
      averages: those of the weights; None if they aren't averaged.
    """

    def __init__(
        self,
        directory: str,
        checkpoint: tf.train.Checkpoint,
        writes: bool = True,
        averages: WeightAverages | None = None,
    ):
        self.directory, self.checkpoint, self.writes, self.averages = directory, checkpoint, writes, averages
        tf.io.gfile.makedirs(directory)

    @classmethod
    def of(cls, directory: str, model: Ranker, writes: bool = True) -> Self:
        """Returns the store of a compiled model's training: of its weights, which must exist, and its optimiser.

        The averages, if its spec asks for some, start from the weights as they are now.
        """
        averages = WeightAverages.of(model)
        state = {"averages": averages.state} if averages else {}
        checkpoint = tf.train.Checkpoint(weights=model.trainable_variables, optimizer=model.optimizer, **state)
        return cls(directory, checkpoint, writes, averages)

    def load(self) -> Progress:
        """Reads the stored progress and restores the weights to go on with; a fresh one where nothing is stored."""
        if not tf.io.gfile.exists(self._state_file):
            return Progress()
        with tf.io.gfile.GFile(self._state_file) as file:
            progress = Progress(**json.load(file))
        self._restore(progress.done)
        if self.averages:
            self.averages.swap()
        return progress

    def save(self, progress: Progress) -> None:
        if not self.writes:
            return
        self.checkpoint.write(self._prefix(progress.done))
        with tf.io.gfile.GFile(self._state_file + ".new", "w") as file:
            json.dump(asdict(progress), file)
        tf.io.gfile.rename(self._state_file + ".new", self._state_file, overwrite=True)
        latest_and_best = {f"epoch-{progress.done}", f"epoch-{progress.best_epoch}"}
        for name in tf.io.gfile.listdir(self.directory):
            if name.startswith("epoch-") and name.partition(".")[0] not in latest_and_best:
                tf.io.gfile.remove(f"{self.directory}/{name}")

    def restore_best(self, progress: Progress) -> None:
        self._restore(progress.best_epoch)

    def clear(self) -> None:
        if self.writes:
            tf.io.gfile.rmtree(self.directory)

    def _restore(self, epoch: int) -> None:
        self.checkpoint.read(self._prefix(epoch)).assert_existing_objects_matched()

    def _prefix(self, epoch: int) -> str:
        return f"{self.directory}/epoch-{epoch}"

    @property
    def _state_file(self) -> str:
        return f"{self.directory}/progress.json"
