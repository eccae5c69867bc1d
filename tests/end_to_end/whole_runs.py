"""The command `fulcrum` as a person runs it, and the specs of small runs."""

import gzip
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import tensorflow as tf
import yaml
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

PROJECT = Path(__file__).resolve().parents[2]
DESKDROP = PROJECT.parent / "shared" / "data" / "deskdrop"
KUAIRAND = PROJECT / "tests" / "data" / "kuairand"
# Of the four days that are simulated, those of the shared run: one is before it, and one after it.
DAYS = ("2026-01-02", "2026-01-03")
WINDOW = f"{len(DAYS)}d:{DAYS[-1]}"
FULCRUM = [sys.executable, "-m", "pipeline.cli"]
# What small runs keep of the short-video spec: each kind of feature, each kind of task, a sample space.
TASKS = ["view_through", "completion", "like"]
FEATURES = ["tab", "hour", "country", "activity", "author", "duration_s", "tags"]
BEHAVIOURS = ["watched", "liked"]
STAGE = re.compile(r"^ *\d+/\d+ +(\w+) +[\d.]+ s( +cached)?$", re.MULTILINE)


@dataclass(frozen=True)
class Finished:
    """A command that ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


def fulcrum(*arguments: object, timeout: float = 600) -> Finished:
    """Runs the command as a person would, in a process of its own."""
    done = subprocess.run(
        [*FULCRUM, *map(str, arguments)], cwd=PROJECT, capture_output=True, text=True, timeout=timeout
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def stages(text: str) -> dict[str, bool]:
    """The stages of a run in their order, and whether each came from the cache."""
    return {stage: bool(cached) for stage, cached in STAGE.findall(text)}


def write_spec(path: Path, **overrides: object) -> Path:
    """Writes a part of the short-video spec, some sections replaced; gates are low enough for some thousand rows."""
    declared = yaml.safe_load((PROJECT / "schema" / "specs" / "shortvideo.yaml").read_text())
    for section, names in (("tasks", TASKS), ("features", FEATURES), ("behaviours", BEHAVIOURS)):
        declared[section] = [entry for entry in declared[section] if entry["name"] in names]
    declared["statistics"] = {"delay": "5m", "by": ["item", ["user", "tab"]]}
    declared["gates"] = {"view_through": {"auc": 0.2}, "completion": {"mse": 0.5}, "like": {"auc": 0.2}}
    declared["training"] = {"epochs": 3, "batch_size": 256, "patience": 3}
    path.write_text(yaml.safe_dump({**declared, **overrides}))
    return path


@dataclass(frozen=True)
class Simulated:
    """The spec of small runs, and the daily logs that they are made from."""

    spec: Path
    logs: Path


@dataclass(frozen=True)
class Run:
    """A finished run, and what it was made from."""

    spec: Path
    logs: Path
    output: Path
    finished: Finished


@dataclass(frozen=True)
class KubeflowRun:
    """A compiled pipeline's run: each task's outputs by its name, where it pushed to, and what its tasks printed."""

    IMAGE: ClassVar[str] = "registry.example.com/fulcrum:1.0"
    ROOT: ClassVar[str] = "gs://bucket/runs"
    # Other values than those of the run, which gives its own.
    DEFAULTS: ClassVar[dict[str, object]] = {"routing": "shared_bottom", "epochs": 9}

    tasks: dict[str, Path]
    serving: Path
    state: Path
    baseline: Path
    log: str

    def outputs(self, name: str) -> Path:
        """The folder of the output of that name, which one task has."""
        (task,) = [folder for folder in self.tasks.values() if (folder / name).exists()]
        return task / name


def rows_by_day(logs: Path) -> dict[str, int]:
    """How many impressions were logged on each day of the shared run's window."""
    files = {day: logs / day / f"impressions-{day}.csv.gz" for day in DAYS}
    return {day: gzip.decompress(file.read_bytes()).count(b"\n") - 1 for day, file in files.items()}


def read_examples(folder: Path) -> list[dict[str, list]]:
    """Returns the examples of a split, each value a list and bytes as text."""
    records = list(tf.data.TFRecordDataset(sorted(map(str, folder.iterdir())), "GZIP").as_numpy_iterator())
    table = pa.Table.from_batches([ExamplesToRecordBatchDecoder().DecodeBatch(records)])
    return [
        {name: [v.decode() if isinstance(v, bytes) else v for v in values or []] for name, values in row.items()}
        for row in table.to_pylist()
    ]
