"""Training progress that outlives a kill: the epochs done, the best one, and the weights of both."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import tensorflow as tf


@dataclass
class Progress:
    """The epochs trained so far, one record each, and which was the best; epochs count from 1."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = float("inf")

    @property
    def done(self) -> int:
        return len(self.epochs)

    def add(self, record: dict[str, Any], eval_loss: float) -> None:
        self.epochs.append(record)
        if eval_loss < self.best_loss:
            self.best_epoch, self.best_loss = self.done, eval_loss

    def is_over(self, epochs: int, patience: int) -> bool:
        """Returns whether all epochs are done, or more than `patience` in a row brought no lower eval loss."""
        return self.done >= epochs or (self.done > 0 and self.done - self.best_epoch > patience)


def fingerprint(*parts: Any) -> str:
    """Hashes what determines a training to a short name, so that none goes on from the weights of another."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class ProgressStore:
    """Keeps `Progress` and checkpoints in `directory`, the latest and the best.

    A checkpoint is first written under a new name, and becomes the latest by one rename of a small file; a kill at
    any moment leaves either the old or the new state.

    Args:
      directory: of several workers that share a training, the same for all.
      checkpoint: the weights and the optimiser's state.
      writes: False for all workers but one.
    """

    def __init__(self, directory: str, checkpoint: tf.train.Checkpoint, writes: bool = True):
        self.directory, self.checkpoint, self.writes = directory, checkpoint, writes
        tf.io.gfile.makedirs(directory)

    @classmethod
    def of(cls, directory: str, model: tf.keras.Model, writes: bool = True) -> Self:
        """Returns the store of a compiled model's training: of its weights, which must exist, and its optimiser."""
        checkpoint = tf.train.Checkpoint(weights=model.trainable_variables, optimizer=model.optimizer)
        return cls(directory, checkpoint, writes)

    def load(self) -> Progress:
        """Reads the stored progress and restores its weights; returns a fresh one where nothing is stored."""
        if not tf.io.gfile.exists(self._state_file):
            return Progress()
        with tf.io.gfile.GFile(self._state_file) as file:
            progress = Progress(**json.load(file))
        self._restore(progress.done)
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
