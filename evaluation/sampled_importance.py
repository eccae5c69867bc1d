"""Importances of a SavedModel's inputs, on some examples of a split: what reads files and models for them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from evaluation.comparability import model_spec
from evaluation.importance import Importances, importances, inputs_of
from evaluation.plan import PlannedModel, make_plan
from evaluation.result import CANDIDATE
from evaluation.scoring import parsed
from schema.columns import example_columns
from schema.served import SERVING_DEFAULT
from schema.spec import RankingSpec

# Each input's permutation is scored anew.
MOST_EXAMPLES = 10_000
_BATCH = 2_000


def sampled_importances(
    files: Sequence[str], saved_model: str, spec: RankingSpec, split: str, most: int = MOST_EXAMPLES
) -> Importances | None:
    """Returns what each input of a model is worth to each task; None without an example or an input.

    Args:
      files: TFRecords of examples as ingest writes them, under gzip, of which as many rows of each file are read: those
        of a user stand together.
      spec: its tasks are judged; what the model reads is said by the spec that it was trained by.
      most: how many examples are read at about the most.
    """
    started = time.monotonic()
    inputs = inputs_of(model_spec(saved_model) or spec)
    records = sampled(files, most)
    if not records or not inputs:
        return None
    tasks = frozenset(task.name for task in spec.tasks)
    plan = make_plan(spec.model_copy(update={"slices": ()}), (PlannedModel(CANDIDATE, saved_model, tasks),))
    rows = parsed(tf.constant(records, tf.string), plan)
    read = {column.name for column in example_columns(spec) if column.side != "target"}
    measured = importances(column_entries(records, read), rows, plan, inputs, scorer(saved_model), split)
    return replace(measured, seconds=time.monotonic() - started)


def sampled(files: Sequence[str], most: int) -> list[bytes]:
    """Returns the first serialised examples of each file, as many of each, at most about `most`."""
    of_each = -(-most // max(len(files), 1))
    return [
        record
        for file in sorted(files)
        for record in tf.data.TFRecordDataset(file, compression_type="GZIP").take(of_each).as_numpy_iterator()
    ]


def column_entries(records: Sequence[bytes], columns: set[str]) -> dict[str, list[bytes]]:
    """Returns each column of the examples as serialised messages of that column alone, which merge by joining them."""
    entries: dict[str, list[bytes]] = {name: [b""] * len(records) for name in columns}
    for row, record in enumerate(records):
        for name, feature in tf.train.Example.FromString(record).features.feature.items():
            if name in columns:
                alone = tf.train.Features(feature={name: feature})
                entries[name][row] = tf.train.Example(features=alone).SerializeToString()
    return entries


def scorer(saved_model: str):
    """Returns a function of serialised examples that scores them with a SavedModel, in batches."""
    loaded = tf.saved_model.load(saved_model)
    signature = loaded.signatures[SERVING_DEFAULT]
    (argument,) = signature.structured_input_signature[1]

    def score(serialized: Sequence[bytes]) -> Mapping[str, np.ndarray]:
        outputs = [
            signature(**{argument: tf.constant(list(serialized[start : start + _BATCH]), tf.string)})
            for start in range(0, len(serialized), _BATCH)
        ]
        return {name: np.concatenate([output[name].numpy().reshape(-1) for output in outputs]) for name in outputs[0]}

    # The model is loaded as long as it is scored with.
    score.model = loaded  # type: ignore[attr-defined]
    return score
