"""Several runs side by side: what each reached, and how far apart they are on the same users."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from evaluation.comparability import serving_path
from evaluation.evaluate import Model, evaluate_models
from evaluation.result import BASELINE, CANDIDATE, Evaluation
from evaluation.result import read as read_evaluation
from report.lineage import Lineage, Used, read_run
from report.material import SOURCES
from schema.columns import ITEM_ID, TIMESTAMP, USER_ID
from schema.served import SPEC_FILE
from schema.spec import RankingSpec

_BATCH = 4096


class ComparisonError(ValueError):
    """The runs can't be compared; the message says which and why."""


@dataclass(frozen=True)
class ComparedRun:
    """A run with the name under which it is shown, the evaluation that it made of itself, and its model's spec."""

    name: str
    lineage: Lineage
    evaluation: Evaluation
    spec: RankingSpec


@dataclass(frozen=True)
class Comparison:
    """The first run, and each other one against it.

    Attributes:
      paired: by the other run's name, the evaluation of its model with the first run's as the baseline, on the same
        examples; absent where the two were not tested on the same.
    """

    runs: tuple[ComparedRun, ...]
    paired: dict[str, Evaluation]

    @property
    def first(self) -> ComparedRun:
        return self.runs[0]

    @property
    def others(self) -> tuple[ComparedRun, ...]:
        return self.runs[1:]

    def settings(self) -> dict[str, tuple[str, ...]]:
        """Returns what the specs of the models say differently: each such setting with every run's value."""
        flat = [_flat(run.spec.model_dump(mode="json")) for run in self.runs]
        keys = dict.fromkeys(key for settings in flat for key in settings)
        values = {key: tuple(settings.get(key, "–") for settings in flat) for key in keys}
        return {key: by_run for key, by_run in values.items() if len(set(by_run)) > 1}


def compare(folders: Sequence[str | Path]) -> Comparison:
    """Reads the latest run of each folder, and evaluates each other model with the first one's as its baseline.

    Raises:
      NoRunError: a folder holds no run.
      ComparisonError: a run came to no evaluation, or fewer than two different folders were given.
    """
    if len(folders) < 2:
        raise ComparisonError(f"expected at least two folders of runs, got {len(folders)}")
    names = _names([Path(folder) for folder in folders])
    runs = tuple(_read(name, folder) for name, folder in zip(names, folders, strict=True))
    first = runs[0]
    tested = _tested_examples(first)
    paired = {run.name: _evaluate(run, first) for run in runs[1:] if _tested_examples(run) == tested}
    return Comparison(runs, paired)


def _names(folders: Sequence[Path]) -> list[str]:
    """Returns the folders' own names; their whole paths where two are the same."""
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ComparisonError(f"expected different folders, got {', '.join(map(str, folders))}")
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _read(name: str, folder: str | Path) -> ComparedRun:
    lineage = read_run(folder)
    for stage, key in (SOURCES["evaluation"], ("Trainer", "model"), ("InteractionExampleGen", "examples")):
        if lineage.output(stage, key) is None:
            raise ComparisonError(f"{folder}: its latest run has no {key}: expected one that came through {stage}")
    evaluation = read_evaluation(_output(lineage, *SOURCES["evaluation"]).uri)
    spec = RankingSpec.from_json(Path(_saved_model(lineage), SPEC_FILE).read_text())
    return ComparedRun(name, lineage, evaluation, spec)


def _output(lineage: Lineage, stage: str, key: str) -> Used:
    used = lineage.output(stage, key)
    assert used is not None
    return used


def _tested_examples(run: ComparedRun) -> str:
    """Returns a hash of the impressions that the run was tested on, whatever else the examples hold, in any order."""
    features = {
        USER_ID: tf.io.FixedLenFeature([], tf.string, ""),
        ITEM_ID: tf.io.FixedLenFeature([], tf.string, ""),
        TIMESTAMP: tf.io.FixedLenFeature([], tf.int64, 0),
    }
    keys = []
    for batch in tf.data.TFRecordDataset(_tested_files(run), "GZIP").batch(_BATCH):
        parsed = tf.io.parse_example(batch, features)
        parts = [parsed[USER_ID], parsed[ITEM_ID], tf.strings.as_string(parsed[TIMESTAMP])]
        keys.append(tf.strings.join(parts, "\0").numpy().astype(bytes))
    return hashlib.sha256(b"\n".join(np.sort(np.concatenate(keys)).tolist())).hexdigest() if keys else ""


def _evaluate(run: ComparedRun, baseline: ComparedRun) -> Evaluation:
    """Returns the evaluation of the run's model on its examples, with the other run's model as the blessed one."""
    declared = run.lineage.stage("SeesawEvaluator")
    assert declared is not None
    models = [Model(CANDIDATE, _saved_model(run.lineage), _output(run.lineage, "Trainer", "model").uri)]
    models += [Model(BASELINE, _saved_model(baseline.lineage), _output(baseline.lineage, "Trainer", "model").uri)]
    spec = RankingSpec.from_json(str(declared.properties["spec"]))
    return evaluate_models(_tested_files(run), models, spec, run.evaluation.split)


def _saved_model(lineage: Lineage) -> str:
    return serving_path(_output(lineage, "Trainer", "model").uri)


def _tested_files(run: ComparedRun) -> list[str]:
    folder = Path(_output(run.lineage, "InteractionExampleGen", "examples").uri, f"Split-{run.evaluation.split}")
    return sorted(map(str, folder.iterdir()))


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Returns `{"model.routing": "ple", …}`; parts of a list go by their name where they have one."""
    if isinstance(value, dict):
        parts = [(key, setting) for key, setting in value.items() if key != "name"]
    elif isinstance(value, list) and value and all(isinstance(setting, dict) for setting in value):
        parts = [(setting.get("name", str(index)), setting) for index, setting in enumerate(value)]
    else:
        return {path: str(value)}
    flat: dict[str, str] = {}
    for key, setting in parts:
        flat |= _flat(setting, f"{path}.{key}" if path else key)
    return flat
