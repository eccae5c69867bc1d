"""Rankers side by side on a test split: each task's metrics, and the first ranker's gain over the others.

Intervals are the evaluation's: paired, and by user. With several seeds gains and half-widths are the seeds' means.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.prepared import Prepared
from evaluation.influence import Comparison, comparisons, influence_moments
from evaluation.metrics.uncertainty import Interval
from evaluation.outcome import SliceOutcome, slice_outcome
from evaluation.plan import Plan, PlannedModel, make_plan
from evaluation.result import BASELINE, CANDIDATE
from evaluation.scored import slice_views
from evaluation.scoring import parsed
from evaluation.totals import totals
from models.training.progress import fingerprint
from schema.spec import RankingSpec

# By ranker, its outputs on the test examples, float32 `(tasks, examples)`.
Scores = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Gain:
    """By how much the first ranker is better than another, turned so that more is better, and its interval."""

    value: float
    half_width: float

    @property
    def is_certain(self) -> bool:
        """Whether zero lies outside of the interval."""
        return abs(self.value) > self.half_width

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
            "values": {name: round(value, 5) for name, value in self.values.items()},
            "gains": {name: [round(gain.value, 5), round(gain.half_width, 5)] for name, gain in self.gains.items()},
            "positives": self.positives,
        }


def compare(prepared: Prepared, by_seed: Sequence[Scores]) -> list[Row]:
    """Returns a row for every task and metric, of rankers that each seed has in the same order."""
    names = list(by_seed[0])
    plan = _plan(prepared.spec, len(names))
    outcomes = [_outcome(prepared, plan, np.stack(list(scores.values()))) for scores in by_seed]
    return list(_rows(plan, names, outcomes))


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


def _rows(plan: Plan, names: Sequence[str], outcomes: Sequence[SliceOutcome]) -> Iterator[Row]:
    compared = comparisons(plan)
    for t, task in enumerate(plan.tasks):
        metrics = {metric.name: metric for metric in task.metrics}
        for metric in ("mean_squared_error",) if task.regression else ("auc", "grouped_auc"):
            sign = 1 if metrics[metric].higher_is_better else -1

            def mean(comparison: Comparison, sign: int = 1, t: int = t, metric: str = metric) -> Gain:
                intervals: list[Interval] = [
                    outcome.interval(t, compared.index(comparison), metric) for outcome in outcomes
                ]
                return Gain(
                    sign * float(np.mean([interval.value for interval in intervals])),
                    float(np.mean([interval.half_width() for interval in intervals])),
                )

            yield Row(
                task.name,
                metric,
                {name: mean(Comparison(m, None)).value for m, name in enumerate(names)},
                {name: mean(Comparison(0, m), sign) for m, name in enumerate(names) if m},
                outcomes[0].count(t, "examples" if task.regression else "positives"),
            )


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
            np.savez(file, **dict(score()))  # type: ignore[arg-type]
        return dict(np.load(file))
