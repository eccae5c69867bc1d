"""Permutation importance: what a task's metric loses once an input's values are another example's.

The loss is of the same examples and users (paired), so that its interval is that of a difference between two models,
by user. Reference: Breiman, "Random Forests", 2001, section 10; for any model, Fisher et al., JMLR 2019.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import TypeAdapter
from tfx.dsl.io import fileio

from evaluation.influence import influence_moments, metric_values
from evaluation.metrics import metric_index
from evaluation.metrics.metric import Metric
from evaluation.metrics.uncertainty import Interval, degrees_of_freedom, standard_error
from evaluation.outcome import estimate
from evaluation.plan import Plan, PlannedModel, PlannedTask
from evaluation.result import CANDIDATE, MIN_USERS, Estimate
from evaluation.scored import ScoredRows, slice_views
from evaluation.totals import COUNTS, StackedTotals, totals
from schema.columns import input_columns
from schema.spec import RankingSpec
from schema.statistics import statistics_of

FILE = "importance.json"

InputKind = Literal["id", "feature", "behaviour", "statistic"]
# Each column's values as messages of one feature each, by name; of an example they are put together by joining them.
Entries = Mapping[str, Sequence[bytes]]
# Returns each task's outputs, `(examples,)`, for serialised examples.
Scorer = Callable[[Sequence[bytes]], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Input:
    """What is permuted as a whole.

    Attributes:
      columns: of the examples, whose values stay together.
      of_user: whether an example's values are the user's, and not the item's or the impression's.
    """

    name: str
    kind: InputKind
    columns: tuple[str, ...]
    of_user: bool


@dataclass(frozen=True)
class Importance:
    """What each task's metric loses without an input.

    Attributes:
      losses: by task, in the metric's unit: above 0 the input helps; of a squared error what it would rise by. Without
        ends where fewer than `MIN_USERS` users have a positive, or a negative.
    """

    name: str
    kind: InputKind
    losses: dict[str, Estimate]

    def helps(self) -> list[str]:
        """Returns the tasks whose interval lies above 0."""
        return [task for task, loss in self.losses.items() if loss.low is not None and loss.low > 0]

    def hurts(self) -> list[str]:
        """Returns the tasks whose interval lies below 0: without the input they would be better."""
        return [task for task, loss in self.losses.items() if loss.high is not None and loss.high < 0]


@dataclass(frozen=True)
class Importances:
    """The importance of every input that a model reads, on some examples of a split.

    Attributes:
      metrics: by task, the metric that is lost.
      seconds: that measuring took, with reading the examples and the model; None where an earlier version measured.
    """

    split: str
    examples: int
    users: int
    metrics: dict[str, str]
    inputs: tuple[Importance, ...]
    seconds: float | None = None


@dataclass(frozen=True)
class _GatedTask(PlannedTask):
    """A task of whose metrics only the gate's is computed."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return super().metrics[:1]


def inputs_of(spec: RankingSpec) -> list[Input]:
    """Returns what a model of the spec reads: ids, features, behaviours with all their columns, and statistics."""
    columns = input_columns(spec)
    inputs = [
        Input(column.name, "id", (column.name,), column.side == "user") for column in columns if column.role == "id"
    ]
    inputs += [
        Input(column.name, "feature", (column.name,), column.feature is not None and column.feature.source == "users")
        for column in columns
        if column.role == "feature"
    ]
    for behaviour in spec.behaviours:
        names = tuple(column.name for column in columns if column.behaviour == behaviour.name)
        if names:
            inputs.append(Input(behaviour.name, "behaviour", names, of_user=True))
    for statistic in statistics_of(spec):
        inputs.append(Input(statistic.name, "statistic", (statistic.column,), tuple(statistic.keys) == ("user",)))
    return inputs


def importances(
    entries: Entries, rows: ScoredRows, plan: Plan, inputs: Sequence[Input], score: Scorer, split: str
) -> Importances:
    """Returns what every input is worth to every task.

    Args:
      entries: the examples, column by column.
      rows: their users, labels and sample spaces (`scoring.parsed`).
      plan: of whose models the first is scored with; it has every task.
      split: how the result names the examples.
    """
    users = np.unique(rows.users, return_inverse=True)[1]
    originals = np.arange(len(rows))
    scores = [_scores(joined(entries, (), originals), score, plan)]
    for number, permuted in enumerate(inputs):
        sources = other_rows(users, permuted.of_user, np.random.default_rng([len(rows), number]))
        scores.append(_scores(joined(entries, permuted.columns, sources), score, plan))
    losses = _losses(replace(rows, scores=np.stack(scores)), plan)
    return Importances(
        split,
        len(rows),
        int(users.max(initial=-1)) + 1,
        {task.name: task.metrics[0].name for task in plan.tasks},
        tuple(
            Importance(permuted_input.name, permuted_input.kind, of_input)
            for permuted_input, of_input in zip(inputs, losses, strict=True)
        ),
    )


def joined(entries: Entries, permuted: Sequence[str], sources: np.ndarray) -> list[bytes]:
    """Returns serialised examples, whose columns `permuted` are those of the rows `sources`."""
    columns = [
        [values[source] for source in sources.tolist()] if name in permuted else values
        for name, values in entries.items()
    ]
    return [b"".join(values) for values in zip(*columns, strict=True)]


def other_rows(users: np.ndarray, of_user: bool, random: np.random.Generator) -> np.ndarray:
    """Returns from which row each row's values are taken, int `(rows,)`.

    What is a user's comes from rows of another user, the same one for all of a user's rows: else most values would stay
    as they are. All else is permuted over all rows.

    Args:
      users: numbers from 0 on, `(rows,)`.
    """
    count = int(users.max(initial=-1)) + 1
    if not of_user or count < 2:
        return random.permutation(len(users))
    # In a circle of random order nobody follows himself.
    circle = random.permutation(count)
    next_user = np.empty(count, np.int64)
    next_user[circle] = np.roll(circle, -1)
    rows_by_user = np.argsort(users, kind="stable")
    lengths = np.bincount(users, minlength=count)
    starts = np.cumsum(lengths) - lengths
    position = np.empty(len(users), np.int64)
    position[rows_by_user] = np.arange(len(users)) - np.repeat(starts, lengths)
    theirs = next_user[users]
    return rows_by_user[starts[theirs] + position % lengths[theirs]]


def _scores(serialized: Sequence[bytes], score: Scorer, plan: Plan) -> np.ndarray:
    outputs = score(serialized)
    return np.stack([np.asarray(outputs[task.name], np.float32).reshape(-1) for task in plan.tasks])


def _losses(rows: ScoredRows, plan: Plan) -> list[dict[str, Estimate]]:
    """Returns by how much each model but the first is behind it, by task."""
    tasks = tuple(_GatedTask(**vars(task)) for task in plan.tasks)
    # Each permutation stands for a model, which is compared with the first as others are.
    unpermuted = PlannedModel(CANDIDATE, plan.models[0].path, frozenset(task.name for task in tasks))
    compared = replace(plan, tasks=tasks, models=(unpermuted,) * len(rows.scores), slices=())
    (view,) = slice_views(rows, ())
    merged = dict(totals(rows, view, compared))
    ((key, moments),) = influence_moments(rows, view, compared, merged)
    (values,) = metric_values(StackedTotals([merged[key]]), compared)
    errors, degrees = standard_error(moments), degrees_of_freedom(moments)
    losses: list[dict[str, Estimate]] = []
    for model in range(1, len(rows.scores)):
        comparison = len(rows.scores) + model - 1
        of_input = {}
        for t, task in enumerate(tasks):
            (metric,) = task.metrics
            column = metric_index(metric.name)
            difference = Interval(
                float(values[t, 0, column] - values[t, model, column]),
                float(errors[t, comparison, column]),
                float(degrees[t, comparison, column]),
            )
            loss = estimate(-difference if metric.higher_is_better is False else difference)
            of_input[task.name] = loss if _has_interval(merged[key].counts[t], task) else Estimate(loss.value)
        losses.append(of_input)
    return losses


def _has_interval(counts: np.ndarray, task: PlannedTask) -> bool:
    names = ("users",) if task.regression else ("positive_users", "negative_users")
    return all(counts[COUNTS.index(name)] >= MIN_USERS for name in names)


def write(importances: Importances, folder: str) -> None:
    """Writes the importances beside an evaluation's files."""
    with fileio.open(f"{folder}/{FILE}", "wb") as file:
        file.write(TypeAdapter(Importances).dump_json(importances))


def read(folder: str) -> Importances | None:
    """Reads what `write` left; None where an earlier version evaluated, or nothing could be permuted."""
    if not fileio.exists(f"{folder}/{FILE}"):
        return None
    with fileio.open(f"{folder}/{FILE}", "rb") as file:
        return TypeAdapter(Importances).validate_json(file.read())
