"""The ranker against LightGBM on the same examples, with and without their statistics, task by task.

`python -m benchmarks.tabular`: simulated short videos and KuaiRand, 3 seeds. Both sides train on the train split, stop
by the eval split, and are compared on the test split, each task in its sample space. Intervals are paired and by user,
as the evaluation's; with several seeds they are the mean ones. Logs of your own:

    python -m benchmarks.tabular --spec SPEC --logs DIRECTORY --keep DIRECTORY

It exits with 1 where the ranker is behind LightGBM with statistics by more than `expected.yaml` allows on a task that
has enough positives (`DENSE`).
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import schema
from benchmarks import expectations, trees
from benchmarks.command import fulcrum
from benchmarks.prepared import Prepared, prepare, test_scores
from evaluation.influence import Comparison, comparisons, influence_moments
from evaluation.metrics.uncertainty import Interval
from evaluation.outcome import SliceOutcome, slice_outcome
from evaluation.plan import Plan, PlannedModel, make_plan
from evaluation.result import BASELINE, CANDIDATE, REFERENCE, ModelName
from evaluation.scored import slice_views
from evaluation.scoring import parsed
from evaluation.totals import totals
from schema.spec import RankingSpec

SPECS = Path(schema.__file__).parent / "specs"
KUAIRAND = Path(__file__).resolve().parents[2] / "shared" / "data" / "kuairand"
USERS, IMPRESSIONS = 5_000, 200_000
# The ranker, LightGBM with the statistics, LightGBM without.
MODELS: tuple[ModelName, ...] = (CANDIDATE, BASELINE, REFERENCE)
# Positives in the test split, from which on a task's figure is expected to hold.
DENSE = 300


@dataclass(frozen=True)
class Logs:
    """Logs to compare on: a spec, and the folder that its globs are relative to."""

    name: str
    spec: Path
    folder: Path


@dataclass(frozen=True)
class Row:
    """One task's metric on the test split: of the three models, and the ranker's gain over LightGBM with statistics.

    Attributes:
      values: by MODELS, the mean of the seeds.
      gain: turned so that more is better, with the half-width of its interval.
    """

    task: str
    metric: str
    values: tuple[float, ...]
    gain: float
    half_width: float
    positives: int


def main() -> int:
    options = arguments()
    short: list[str] = []
    results: dict[str, dict[str, dict[str, object]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        for logs in chosen_logs(options, folder):
            prepared = prepare(logs.spec, logs.folder, folder / logs.name)
            rows = compare(prepared, range(1, options.seeds + 1))
            print("\n".join(table(logs.name, rows)), flush=True)
            results[logs.name] = {f"{row.task} {row.metric}": as_json(row) for row in rows}
            short += shortfalls(logs.name, rows)
    return expectations.conclude({"test": results, "seeds": options.seeds}, short)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=lambda text: text.split(","), default=["simulated", "kuairand"])
    parser.add_argument("--kuairand", type=Path, default=KUAIRAND, help="the directory of KuaiRand's files")
    parser.add_argument("--spec", type=Path, help="a spec, instead of --data")
    parser.add_argument("--logs", type=Path, help="the logs of --spec")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a directory for the runs, which are taken if they are there")
    options = parser.parse_args()
    if (options.spec is None) != (options.logs is None):
        parser.error("--spec and --logs go together")
    if unknown := set(options.data) - {"simulated", "kuairand"}:
        parser.error(f"--data: expected simulated, kuairand or both, got {', '.join(sorted(unknown))}")
    return options


def chosen_logs(options: argparse.Namespace, folder: Path) -> Iterator[Logs]:
    if options.spec:
        yield Logs(options.spec.stem, options.spec, options.logs)
        return
    for name in options.data:
        if name == "kuairand":
            yield Logs(name, SPECS / "kuairand.yaml", options.kuairand)
        else:
            simulated = folder / "simulated_logs"
            if not simulated.exists():
                fulcrum("simulate", "--out", simulated, "--users", USERS, "--impressions", IMPRESSIONS, "--seed", 1)
            yield Logs(name, SPECS / "shortvideo.yaml", simulated)


def compare(prepared: Prepared, seeds: range) -> list[Row]:
    """Trains both sides with each seed, and returns a row for every task and metric."""
    spec = prepared.spec
    train, evaluation, test = (
        trees.read_split([f"{prepared.examples}/Split-{name}/*"], name, spec) for name in ("train", "eval", "test")
    )
    plan = plan_of(spec)
    outcomes = []
    for seed in seeds:
        scores = [
            test_scores(prepared, spec.with_training(seed=seed)),
            trees.scores(train, evaluation, test, spec, statistics=True, seed=seed),
            trees.scores(train, evaluation, test, spec, statistics=False, seed=seed),
        ]
        outcomes.append(outcome(prepared, plan, np.stack(scores)))
    return list(rows_of(spec, plan, outcomes))


def plan_of(spec: RankingSpec) -> Plan:
    """Returns how `MODELS`, which all score every task, are compared."""
    tasks = frozenset(task.name for task in spec.tasks)
    return make_plan(spec, tuple(PlannedModel(name, "", tasks) for name in MODELS))


def outcome(prepared: Prepared, plan: Plan, scores: np.ndarray) -> SliceOutcome:
    """Returns every metric of all models on the whole test split, by the evaluation's own sums."""
    rows = replace(parsed(tf.constant(prepared.test), plan), scores=scores)
    view = next(slice_views(rows, ()))
    ((key, summed),) = totals(rows, view, plan)
    ((_, moments),) = influence_moments(rows, view, plan, {key: summed})
    return slice_outcome(key, summed, moments, plan)


def rows_of(spec: RankingSpec, plan: Plan, outcomes: list[SliceOutcome]) -> Iterator[Row]:
    against_trees = comparisons(plan).index(Comparison(0, 1))
    for t, task in enumerate(plan.tasks):
        names = {metric.name: metric for metric in task.metrics}
        for name in ("mean_squared_error",) if task.regression else ("auc", "grouped_auc"):
            gains: list[Interval] = [one.interval(t, against_trees, name) for one in outcomes]
            sign = 1 if names[name].higher_is_better else -1
            positives = outcomes[0].count(t, "examples" if task.regression else "positives")
            yield Row(
                task.name,
                name,
                tuple(float(np.mean([one.interval(t, m, name).value for one in outcomes])) for m in range(len(MODELS))),
                sign * float(np.mean([gain.value for gain in gains])),
                float(np.mean([gain.half_width() for gain in gains])),
                positives,
            )


def table(name: str, rows: list[Row]) -> Iterator[str]:
    yield f"\n{name}\n"
    yield "| task | metric | Fulcrum | LightGBM + statistics | LightGBM | gain over LightGBM + statistics |"
    yield "|---|---|---:|---:|---:|---:|"
    for row in rows:
        gain = f"{row.gain:+.4f} ± {row.half_width:.4f}"
        marked = f"**{gain}**" if abs(row.gain) > row.half_width else gain
        values = " | ".join(f"{value:.4f}" for value in row.values)
        yield f"| {row.task} | {row.metric} | {values} | {marked} |"


def shortfalls(name: str, rows: list[Row]) -> Iterator[str]:
    allowed = expectations.load("tabular")
    for row in rows:
        if row.positives < DENSE:
            continue
        bound = allowed["mse"] * row.values[1] if row.metric == "mean_squared_error" else allowed["auc"]
        if row.gain < -bound:
            yield f"{name}, {row.task}: {row.metric} is {-row.gain:.4f} behind LightGBM's, allowed {bound:.4f}"


def as_json(row: Row) -> dict[str, object]:
    values: dict[str, object] = dict(
        zip(("fulcrum", "lightgbm_statistics", "lightgbm"), (round(v, 5) for v in row.values), strict=True)
    )
    return values | {"gain": round(row.gain, 5), "half_width": round(row.half_width, 5), "positives": row.positives}


if __name__ == "__main__":
    sys.exit(main())
