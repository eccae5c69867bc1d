"""Whether a bottom of each task's own pays, by how far tasks follow interests of their own: simulated logs.

`python -m benchmarks.interests`: for the task interests 0, .5 and 1 (docs/simulation.md) PLE on DTRN's bottom against
PLE on a bottom that all tasks share, 3 seeds each. A seed draws its own users and logs, and is that of both trainings.
Every task has its own behaviour as a sequence, for both. What is compared is the test split, each task in its sample
space: AUC, and for a regression 1 - MSE / variance, so that the mean of tasks is of numbers of one size. Intervals are
paired and by user, seeds being of different users; the noise of training is not in them, and is seen between the seeds.
A quick form:

    python -m benchmarks.interests --interests 1 --seeds 1 --users 500 --impressions 20000 --epochs 1

With `--keep DIRECTORY` examples, and with `--runs FILE` figures are kept and taken if they are there; `--write` writes
the table and the results as JSON to a directory. It exits with 1 where the bottom isn't what `expected.yaml` says:
behind without interests of the tasks' own, or not above at 1 with an interval that leaves zero out.
"""

import argparse
import functools
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import yaml

import schema
from benchmarks import expectations
from benchmarks.command import fulcrum
from benchmarks.prepared import Prepared, prepare, test_scores
from benchmarks.run_log import RunLog
from evaluation.metrics.uncertainty import Interval, Moments, degrees_of_freedom, moments, standard_error
from evaluation.plan import Plan, PlannedModel, make_plan
from evaluation.result import BASELINE, CANDIDATE
from evaluation.scored import ScoredRows, slice_views
from evaluation.scoring import parsed
from evaluation.totals import StackedTotals, task_rows, totals
from models.bottom import BOTTOMS
from schema.modelling import SHARED_ROUTING
from schema.spec import RankingSpec

SHORTVIDEO = Path(schema.__file__).parent / "specs" / "shortvideo.yaml"
USERS, IMPRESSIONS = 5_000, 200_000
INTERESTS = (0.0, 0.5, 1.0)
# Each task's own behaviour, by which `simulation.responses` lifts its mood.
BEHAVIOURS = (
    {"name": "watched", "column": "play_ms", "at_least": 3_000, "max_length": 50},
    {"name": "stayed", "column": "play_ms", "at_least": 15_000, "max_length": 50},
    {"name": "liked", "column": "like", "max_length": 20},
    {"name": "shared", "column": "share", "max_length": 20},
    {"name": "commented", "column": "comment", "max_length": 20},
)
# Beside the tasks.
MEAN = "mean"


@dataclass(frozen=True)
class Gain:
    """By how much one bottom is better than another on the test split; arrays of the tasks and, last, their mean.

    Attributes:
      metrics: of both bottoms, `(2, tasks + 1)`.
      users, second, fourth: moments of the users' influences on the difference.
    """

    metrics: np.ndarray
    users: int
    second: np.ndarray
    fourth: np.ndarray

    @property
    def gain(self) -> np.ndarray:
        return self.metrics[0] - self.metrics[1]

    def to_json(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in ("metrics", "second", "fourth")}
        return {**arrays, "users": self.users}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Gain":
        arrays = {name: np.array(values[name]) for name in ("metrics", "second", "fourth")}
        return cls(**arrays, users=int(values["users"]))


def main() -> int:
    options = arguments()
    log = RunLog(options.runs)
    gains: dict[float, list[Gain]] = {}
    tasks: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        spec_file = write_spec(folder / "spec.yaml", options)
        for interests in options.interests:
            for seed in range(1, options.seeds + 1):
                prepared = examples_of(spec_file, interests, seed, options, folder)
                tasks = [f"{task.name} {'R2' if task.is_regression else 'AUC'}" for task in prepared.spec.tasks]
                settings = [configured(prepared.spec, bottom, seed).to_json() for bottom in bottoms(options)]
                sizes = [options.users, options.impressions]
                run = functools.partial(compare, prepared, bottoms(options))
                result = log.run(f"interests {interests:g}", seed, [settings, sizes], run)
                gains.setdefault(interests, []).append(Gain.from_json(result))
                print(f"interests {interests:g} seed {seed}  {shown(gains[interests][-1].gain)}", flush=True)
    table = list(report(gains, tasks, bottoms(options)))
    print("\n".join(["", *table]))
    summary = as_json(gains, tasks, bottoms(options))
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        (options.write / "interests.md").write_text("\n".join(table) + "\n")
        (options.write / "interests.json").write_text(json.dumps(summary, indent=1) + "\n")
    short = list(shortfalls(gains, options.bottom))
    return expectations.conclude(summary, short)


def arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[float]:
        return [float(number) for number in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interests", type=numbers, default=list(INTERESTS), help="from 0 to 1")
    parser.add_argument("--seeds", type=int, default=expectations.load("interests")["seeds"])
    parser.add_argument("--bottom", choices=BOTTOMS, default="dtrn", help="which has to win")
    parser.add_argument("--against", choices=BOTTOMS, default="din", help="which it is compared with")
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--impressions", type=int, default=IMPRESSIONS)
    parser.add_argument("--epochs", type=int, help="by default the spec's")
    parser.add_argument("--statistics", action="store_true", help="leave the spec's statistics in")
    parser.add_argument("--keep", type=Path, help="a directory for the examples, which are taken if they are there")
    parser.add_argument("--runs", type=Path, help="a file that keeps the figures, and gives those it has")
    parser.add_argument("--write", type=Path, help="a directory for the table and the JSON")
    options = parser.parse_args()
    if not all(0 <= interests <= 1 for interests in options.interests):
        parser.error(f"--interests: expected numbers from 0 to 1, got {options.interests}")
    return options


def bottoms(options: argparse.Namespace) -> tuple[str, str]:
    return options.bottom, options.against


def write_spec(path: Path, options: argparse.Namespace) -> Path:
    """Writes the short-video spec with each task's own behaviour.

    Without statistics, which tell of each task's interest in a category without any sequence, unless asked for.
    """
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    declared["behaviours"] = [{**behaviour, "delay": "5m"} for behaviour in BEHAVIOURS]
    declared["gates"], declared["model"] = {}, {"routing": SHARED_ROUTING}
    if not options.statistics:
        del declared["statistics"]
        declared["slices"] = [["tab"]]
    if options.epochs:
        declared["training"]["epochs"] = options.epochs
    path.write_text(yaml.safe_dump(declared))
    return path


def examples_of(spec: Path, interests: float, seed: int, options: argparse.Namespace, folder: Path) -> Prepared:
    name = f"{options.users}_{options.impressions}_{interests:g}_{seed}"
    logs, output = folder / f"logs_{name}", folder / name
    if not output.exists():
        sizes = ("--users", options.users, "--impressions", options.impressions)
        fulcrum("simulate", "--out", logs, *sizes, "--task-interests", interests, "--seed", seed)
    return prepare(spec, logs, output)


def configured(spec: RankingSpec, bottom: str, seed: int) -> RankingSpec:
    return spec.with_training(bottom=bottom, seed=seed)


def compare(prepared: Prepared, pair: tuple[str, str], seed: int) -> dict[str, Any]:
    """Trains both bottoms and returns the `Gain` of the first as JSON."""
    scores = np.stack([test_scores(prepared, configured(prepared.spec, bottom, seed)) for bottom in pair])
    spec = prepared.spec
    names = frozenset(task.name for task in spec.tasks)
    plan = make_plan(spec, tuple(PlannedModel(name, "", names) for name in (CANDIDATE, BASELINE)))
    rows = parsed(tf.constant(prepared.test), plan)
    return gain_of(replace(rows, scores=scores), plan).to_json()


def gain_of(rows: ScoredRows, plan: Plan) -> Gain:
    """Returns the gain of the first model's scores over the second's, by the evaluation's own sums."""
    view = next(slice_views(rows, ()))
    ((_, summed),) = totals(rows, view, plan)
    stacked = StackedTotals([summed])
    values, influences = [], []
    for t, task in enumerate(plan.tasks):
        metric = task.metrics[0]  # AUC, or the MSE
        of_models = [task_rows(rows, view, t, m) for m in range(2)]
        value = [metric.value(stacked.of(t, m, metric)) for m in range(2)]
        influence = [metric.influence(of_models[m], stacked.of(t, m, metric), value[m]) for m in range(2)]
        # R2 = 1 - MSE / variance, the variance being the same number for both.
        scale = -1 / of_models[0].labels.var(dtype=np.float64) if task.regression else 1.0
        values.append([float(task.regression) + scale * value[m][0] for m in range(2)])
        influences.append(scale * (influence[0] - influence[1]))
    with_mean = np.array([*values, np.mean(values, axis=0)]).T
    sums = moments(np.array([*influences, np.mean(influences, axis=0)]))
    return Gain(with_mean, int(sums.users[0]), sums.second, sums.fourth)


def interval(gains: list[Gain], column: int) -> Interval:
    """Returns the mean gain of seeds, whose users are different ones, with its interval."""
    count = len(gains)
    sums = Moments(
        np.array(sum(gain.users for gain in gains)),
        np.array(sum(gain.second[column] for gain in gains) / count**2),
        np.array(sum(gain.fourth[column] for gain in gains) / count**4),
    )
    mean = float(np.mean([gain.gain[column] for gain in gains]))
    return Interval(mean, float(standard_error(sums)), float(degrees_of_freedom(sums)))


def report(gains: Mapping[float, list[Gain]], tasks: list[str], pair: tuple[str, str]) -> Iterator[str]:
    """Yields a table in Markdown: each bottom's metrics, and the gain of the first, bold where it leaves out zero."""
    yield f"| interests | bottom | {' | '.join([*tasks, MEAN])} | mean by seed |"
    yield "|---:|---|" + "---:|" * (len(tasks) + 2)
    for interests, of_seeds in gains.items():
        for row, bottom in enumerate(pair):
            means = np.mean([gain.metrics[row] for gain in of_seeds], axis=0)
            yield f"| {interests:g} | {bottom} | {' | '.join(f'{mean:.4f}' for mean in means)} | |"
        cells = [marked(interval(of_seeds, column)) for column in range(len(tasks) + 1)]
        by_seed = " ".join(f"{gain.gain[-1]:+.4f}" for gain in of_seeds)
        yield f"| {interests:g} | {pair[0]} better by | {' | '.join(cells)} | {by_seed} |"


def marked(gain: Interval) -> str:
    text = f"{gain.value:+.4f} ± {gain.half_width():.4f}"
    return f"**{text}**" if abs(gain.value) > gain.half_width() else text


def as_json(gains: Mapping[float, list[Gain]], tasks: list[str], pair: tuple[str, str]) -> dict[str, Any]:
    by_interests = {}
    for interests, of_seeds in gains.items():
        intervals = {name: interval(of_seeds, column) for column, name in enumerate([*tasks, MEAN])}
        by_interests[f"{interests:g}"] = {
            name: {"gain": round(gain.value, 5), "half_width": round(gain.half_width(), 5)}
            for name, gain in intervals.items()
        }
    return {"bottom": pair[0], "against": pair[1], "gains": by_interests}


def shortfalls(gains: Mapping[float, list[Gain]], bottom: str) -> Iterator[str]:
    """Yields a sentence where, on the mean of tasks, the bottom is behind and should tie, or isn't ahead and should."""
    expected = expectations.load("interests")
    for interests, of_seeds in gains.items():
        gain = interval(of_seeds, -1)
        text = f"{bottom} at interests {interests:g}: a gain of {gain.value:+.4f} ± {gain.half_width():.4f} on the mean"
        if interests in expected["ties_at"] and gain.value < -max(expected["tolerance"], gain.half_width()):
            yield f"{text}, expected none below -{expected['tolerance']}"
        if interests in expected["wins_at"] and not gain.value > gain.half_width():
            yield f"{text}, expected one whose interval lies above 0"


def shown(values: np.ndarray) -> str:
    return " ".join(f"{value:+.4f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
