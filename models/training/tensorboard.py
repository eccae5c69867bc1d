"""TensorBoard's logs: each task's metrics by epoch in a folder per split, and the diagnostics beside those of eval."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from models.training.diagnostics import scalars


class EpochLogs:
    """Writes the records of epochs (`models.training.loop.train_epochs`).

    Args:
      directory: where each split gets a folder.
      splits: those to write; none on a worker that is not the chief.
    """

    def __init__(self, directory: str, splits: Sequence[str] = ("train", "eval")):
        self._writers = {split: tf.summary.create_file_writer(f"{directory}/{split}") for split in splits}

    def write(self, record: Mapping[str, Any]) -> None:
        for split, writer in self._writers.items():
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
    """Writes what `tf.summary.scalar` does; that one wants TensorBoard itself to be installed."""
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"))
    tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)
