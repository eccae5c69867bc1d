"""Rankers side by side on a test split: each task's metrics, and the first ranker's gain over the others.

Beside them stands each ranker's calibration, which is best at 1 and so has no gain. Intervals are the evaluation's:
paired, and by user. With several seeds values, gains and half-widths are the seeds' means.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.prepared import Prepared
from evaluation.influence import Comparison, comparisons, influence_moments
from evaluation.metrics.calibration import Calibration as CalibrationMetric
from evaluation.outcome import SliceOutcome, slice_outcome
from evaluation.plan import Plan, PlannedModel, make_plan
from evaluation.result import BASELINE, CANDIDATE
from evaluation.scored import slice_views
from evaluation.scoring import parsed
from evaluation.totals import totals
from models.training.progress import fingerprint
from schema.spec import RankingSpec

# The metrics that are shown, where a task has them. The list metric only where the log tells what was ranked at once:
# over a day any count of what the user did is tied to fewer positives after it (docs/evaluation.md).
_SHOWN, LIST_METRIC = ("mean_squared_error", "auc"), "grouped_auc"
# By ranker, its outputs on the test examples, float32 `(tasks, examples)`.
Scores = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Gain:
    """By how much the first ranker is better than another, turned so that more is better, and its interval."""

    value: float
    half_width: float

    @property
    def is_certain(self) -> bool:
        """Returns whether zero lies outside of the interval."""
        return abs(self.value) > self.half_width

    @property
    def reversed(self) -> "Gain":
        """Returns the gain of the other ranker over the first one."""
        return Gain(-self.value, self.half_width)

    def __str__(self) -> str:
        text = f"{self.value:+.4f} ± {self.half_width:.4f}"
        return f"**{text}**" if self.is_certain else text


@dataclass(frozen=True)
class Row:
    """One task's metric on the test split: by ranker, and the first one's gain over each other.

    Attributes:
      positives: in the test split; of a regression its examples.
    """

    task: str
    metric: str
    values: Mapping[str, float]
    gains: Mapping[str, Gain]
    positives: int

    def as_json(self) -> dict[str, object]:
        return {
            "values": {name: _rounded(value) for name, value in self.values.items()},
            "gains": {name: [_rounded(gain.value), _rounded(gain.half_width)] for name, gain in self.gains.items()},
            "positives": self.positives,
        }


@dataclass(frozen=True)
class Calibration:
    """By ranker, the mean of a binary task's predictions on the test split over the mean of its labels.

    Attributes:
      positives: in the test split.
    """

    task: str
    values: Mapping[str, float]
    positives: int

    def as_json(self) -> dict[str, object]:
        return {
            "values": {name: _rounded(value) for name, value in self.values.items()},
            "positives": self.positives,
        }


@dataclass(frozen=True)
class Compared:
    """Rankers compared: a row for every task and metric, and a calibration for every binary task with a positive."""

    rows: list[Row]
    calibrations: list[Calibration]

    def as_json(self) -> dict[str, object]:
        return {
            **{f"{row.task} {row.metric}": row.as_json() for row in self.rows},
            **{f"{calibration.task} calibration": calibration.as_json() for calibration in self.calibrations},
        }


def compare(prepared: Prepared, by_seed: Sequence[Scores]) -> Compared:
    """Returns how rankers compare that each seed has in the same order."""
    names = list(by_seed[0])
    plan = _plan(prepared.spec, len(names))
    outcomes = [_outcome(prepared, plan, np.stack(list(scores.values()))) for scores in by_seed]
    shown = (*_SHOWN, LIST_METRIC) if prepared.spec.log.request else _SHOWN
    return Compared(list(_rows(plan, names, outcomes, shown)), list(_calibrations(plan, names, outcomes)))


def calibration_table(calibrations: Sequence[Calibration]) -> Iterator[str]:
    """Yields the lines of a table: each ranker's calibration, and how many positives it rests on."""
    names = list(calibrations[0].values) if calibrations else []
    if names:
        yield f"\n| calibration of | positives | {' | '.join(names)} |"
        yield "|---|---:|" + "---:|" * len(names)
    for calibration in calibrations:
        values = " | ".join(f"{value:.3f}" for value in calibration.values.values())
        yield f"| {calibration.task} | {calibration.positives:,} | {values} |"


def _plan(spec: RankingSpec, models: int) -> Plan:
    tasks = frozenset(task.name for task in spec.tasks)
    return make_plan(spec, tuple(PlannedModel(BASELINE if m else CANDIDATE, "", tasks) for m in range(models)))


def _outcome(prepared: Prepared, plan: Plan, scores: np.ndarray) -> SliceOutcome:
    """Returns every metric of all rankers on the whole test split, by the evaluation's own sums."""
    rows = replace(parsed(tf.constant(prepared.test), plan), scores=scores)
    view = next(slice_views(rows, ()))
    ((key, summed),) = totals(rows, view, plan)
    ((_, moments),) = influence_moments(rows, view, plan, {key: summed})
    return slice_outcome(key, summed, moments, plan)


def _rows(plan: Plan, names: Sequence[str], outcomes: Sequence[SliceOutcome], shown: Sequence[str]) -> Iterator[Row]:
    compared = comparisons(plan)
    for t, task in enumerate(plan.tasks):
        for metric in task.metrics:
            if metric.name not in shown:
                continue
            sign = 1 if metric.higher_is_better else -1
            alone = [_mean(outcomes, t, compared.index(Comparison(m, None)), metric.name) for m in range(len(names))]
            against = {
                name: _mean(outcomes, t, compared.index(Comparison(0, m)), metric.name)
                for m, name in enumerate(names)
                if m
            }
            yield Row(
                task.name,
                metric.name,
                {name: value for name, (value, _) in zip(names, alone, strict=True)},
                {name: Gain(sign * value, half_width) for name, (value, half_width) in against.items()},
                outcomes[0].count(t, "examples" if task.regression else "positives"),
            )


def _calibrations(plan: Plan, names: Sequence[str], outcomes: Sequence[SliceOutcome]) -> Iterator[Calibration]:
    compared, metric = comparisons(plan), CalibrationMetric.name
    for t, task in enumerate(plan.tasks):
        positives = 0 if task.regression else outcomes[0].count(t, "positives")
        if positives:
            indices = [compared.index(Comparison(m, None)) for m in range(len(names))]
            values = [_mean(outcomes, t, index, metric)[0] for index in indices]
            yield Calibration(task.name, dict(zip(names, values, strict=True)), positives)


def _rounded(value: float) -> float | None:
    """Returns a number that JSON has; None for a metric of a task without positives."""
    return round(value, 5) if math.isfinite(value) else None


def _mean(outcomes: Sequence[SliceOutcome], task: int, comparison: int, metric: str) -> tuple[float, float]:
    """Returns the means over the seeds of a value, or of a difference, and of its interval's half-width."""
    intervals = [outcome.interval(task, comparison, metric) for outcome in outcomes]
    half_widths = [interval.half_width() for interval in intervals]
    return float(np.mean([interval.value for interval in intervals])), float(np.mean(half_widths))


class ScoreFiles:
    """Scores that outlive a benchmark: a long one can be done in parts.

    Args:
      folder: of the files; None to keep none.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder

    def get(self, name: str, settings: object, score: Callable[[], Scores]) -> Scores:
        """Returns what `score` returns, or returned when a file of this name and settings was written."""
        if self.folder is None:
            return score()
        file = self.folder / f"{name}-{fingerprint(settings)[:12]}.npz"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial.npz")
            np.savez(partial, allow_pickle=False, **dict(score()))
            partial.replace(file)
        return dict(np.load(file))
