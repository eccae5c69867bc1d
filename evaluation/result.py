"""What an evaluation found, as one JSON file beside TFMA's own: values, differences, intervals, checks and curves.

Read it with `read(uri_of_the_evaluation)`; TFMA's files in the same folder say the same of metrics and slices in TFMA's
format. Numbers are in the metric's own unit; what is undefined (AUC of one class, a slice without examples) is None.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from pydantic import TypeAdapter
from tfx.dsl.io import fileio

from evaluation.metrics import metric_named

FILE = "evaluation.json"

CANDIDATE: Final = "candidate"
BASELINE: Final = "baseline"
REFERENCE: Final = "reference"
# The candidate; the blessed model that it is compared with; the single-task model that the gain is taken against.
ModelName = Literal["candidate", "baseline", "reference"]
# Fewer users with a positive, or with a negative, say too little about how users differ.
MIN_USERS = 10
# (feature, value) pairs, in the order of the spec's slice; () is the whole split.
SliceKey = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Estimate:
    """A value, or a difference, with the ends of its interval. None where there is none to give."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Counts:
    """What a task's sample space holds; all but examples and users is None in a regression.

    `ranked_users` have a list with both classes, and so a place in grouped AUC; NDCG and MRR take the `positive_users`,
    with a positive at least.
    """

    examples: int
    users: int
    positives: int | None = None
    ranked_users: int | None = None
    positive_users: int | None = None
    negative_users: int | None = None


@dataclass(frozen=True)
class SliceResult:
    """One task on one slice.

    Attributes:
      metrics: by metric, then by model. A model that doesn't have the task is absent.
      differences: by metric, then by the model compared with (`baseline`, `reference`): the candidate's value minus
        that one's, on the same examples and users (paired). Not turned round where lower is better; `gain` is.
    """

    task: str
    slice: SliceKey
    counts: Counts
    metrics: dict[str, dict[ModelName, Estimate]]
    differences: dict[str, dict[ModelName, Estimate]]


@dataclass(frozen=True)
class Task:
    """`metric` is the one that the gate and the gain are about: `auc`, or `mean_squared_error` of a regression."""

    name: str
    regression: bool
    metric: str


@dataclass(frozen=True)
class Model:
    """A model that was evaluated.

    Attributes:
      not_compared: of each task of the candidate's that this model can't be compared on, why.
      routing: how its tasks share, by its spec; None where that can't be read, or an earlier version evaluated it.
    """

    name: ModelName
    uri: str
    not_compared: dict[str, str]
    routing: str | None = None


@dataclass(frozen=True)
class CalibrationPoint:
    """The examples whose prediction falls into one bin: their number, mean prediction and mean label."""

    examples: int
    prediction: float
    label: float


@dataclass(frozen=True)
class Curves:
    """One model's curves of one binary task over the whole split, thinned to some 200 points.

    `roc` holds (false-positive rate, true-positive rate) from (0, 0) to (1, 1), `precision_recall` (recall, precision)
    by rising recall.
    """

    task: str
    model: ModelName
    calibration: tuple[CalibrationPoint, ...]
    roc: tuple[tuple[float, float], ...]
    precision_recall: tuple[tuple[float, float], ...]


Verdict = Literal["holds", "fails", "unjudged", "not compared"]
CheckKind = Literal["floor", "ceiling", "max_drop", "max_loss", "min_gain"]


@dataclass(frozen=True)
class Check:
    """One thing that the gate looked at.

    Attributes:
      kind: `floor` and `ceiling` bound the candidate's own value; `max_drop` bounds how far it may fall behind the
        blessed model, `max_loss` how far behind the single-task one; `min_gain` is how far it must be ahead of that.
      estimate: of the value; for `max_drop`, of the difference candidate - baseline; for `max_loss` and `min_gain`, of
        the `gain`, in which more is better.
      bound: as the spec has it.
      verdict: `unjudged` where the data can't tell; `not compared` where there is nothing to compare with.
      blocks: whether this alone keeps the model from being blessed.
      reason: the verdict in words, for a person.
    """

    task: str
    slice: SliceKey
    kind: CheckKind
    metric: str
    estimate: Estimate
    bound: float
    verdict: Verdict
    blocks: bool
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """Everything that one evaluation found. `results` has every task on every slice, the whole split first."""

    spec: str
    split: str
    confidence: float
    examples: int
    tasks: tuple[Task, ...]
    models: tuple[Model, ...]
    results: tuple[SliceResult, ...]
    curves: tuple[Curves, ...]
    checks: tuple[Check, ...]
    blessed: bool

    @cached_property
    def _by_key(self) -> dict[tuple[str, SliceKey], SliceResult]:
        return {(result.task, result.slice): result for result in self.results}

    def result(self, task: str, slice_key: SliceKey = ()) -> SliceResult:
        """Returns one task on one slice; the whole split by default.

        Raises:
          KeyError: there is no such task or slice.
        """
        return self._by_key[task, slice_key]

    def model(self, name: ModelName) -> Model | None:
        """Returns the model of this name; None where there was no such."""
        return next((model for model in self.models if model.name == name), None)

    def slices(self, task: str) -> Iterator[SliceResult]:
        """Yields the task's results on all slices but the whole split."""
        return (result for result in self.results if result.task == task and result.slice)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Returns why the model was not blessed."""
        return tuple(check.reason for check in self.checks if check.blocks)


def gain(result: SliceResult, metric: str, against: ModelName = "reference") -> Estimate | None:
    """Returns the difference turned so that more is better: the MTL gain (PLE, eq. 11) against the reference.

    None where the two were not compared.
    """
    difference = result.differences.get(metric, {}).get(against)
    return difference and turned(difference, metric)


def turned(difference: Estimate, metric: str) -> Estimate:
    """Returns the difference of a metric with its sign such that more is better."""
    if metric_named(metric).higher_is_better is not False:
        return difference
    value, low, high = (None if end is None else -end for end in (difference.value, difference.high, difference.low))
    return Estimate(value, low, high)


# How a task stands to its single-task model; `unjudged` where there are too few users to say.
Transfer = Literal["gains", "equal", "loses", "unjudged"]


def transfer(result: SliceResult, metric: str) -> Transfer | None:
    """Returns whether the task gains or loses by sharing: on which side the interval of its gain leaves zero out.

    With the gain g over the single-task model and its interval [low, high]: `gains` where low > 0, `loses` where
    high < 0, else `equal`. None where the two were not compared.
    """
    estimate = gain(result, metric)
    if estimate is None:
        return None
    if estimate.low is None or estimate.high is None:
        return "unjudged"
    if _has_few_users(result.counts) and not estimate.low == estimate.high == 0:
        return "unjudged"
    return "gains" if estimate.low > 0 else "loses" if estimate.high < 0 else "equal"


def _has_few_users(counts: Counts) -> bool:
    classes = [users for users in (counts.positive_users, counts.negative_users) if users is not None]
    return min(classes or [counts.users]) < MIN_USERS


def slice_text(key: SliceKey) -> str:
    """Returns `tab=home, country=BR`; the whole split is `all`."""
    return ", ".join(f"{feature}={value}" for feature, value in key) or "all"


_ADAPTER = TypeAdapter(Evaluation)


def to_json(evaluation: Evaluation) -> bytes:
    """Returns the evaluation as the JSON that `from_json` reads."""
    return _ADAPTER.dump_json(evaluation)


def from_json(text: bytes | str) -> Evaluation:
    """Returns the evaluation that `to_json` wrote.

    Raises:
      ValidationError: the text is something else.
    """
    return _ADAPTER.validate_json(text)


def write(evaluation: Evaluation, uri: str) -> None:
    """Writes it into the folder of an evaluation artifact."""
    with fileio.open(f"{uri}/{FILE}", "wb") as file:
        file.write(to_json(evaluation))


def read(uri: str) -> Evaluation:
    """Reads what `write` wrote into the folder.

    Raises:
      FileNotFoundError: the folder holds no such evaluation.
    """
    path = f"{uri}/{FILE}"
    if not fileio.exists(path):
        raise FileNotFoundError(f"{path}: no evaluation here: expected what SeesawEvaluator wrote")
    with fileio.open(path, "rb") as file:
        return from_json(file.read())
