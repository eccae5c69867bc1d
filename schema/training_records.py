"""What a training leaves beside its logs, `history.json` and `diagnostics.json`: their names, fields and JSON."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias, TypeVar

from pydantic import TypeAdapter, ValidationError

HISTORY_FILE, DIAGNOSTICS_FILE = "history.json", "diagnostics.json"

# By task, its `loss`, and `auc` if it is binary, `mse` and `mae` if it is a regression without bounds; where training
# stops by metrics, `r2` of a regression. None where the value is not finite.
TaskMetrics: TypeAlias = dict[str, dict[str, float | None]]

# Which network serves a task: the one that shares, one of its own, or the mean of both.
Network = Literal["shared", "own", "both"]

_Record = TypeVar("_Record")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a training; epochs count from 1."""

    epoch: int
    seconds: float
    examples_per_second: float
    train: TaskMetrics
    eval: TaskMetrics


@dataclass(frozen=True)
class History:
    """How a training went: `history.json`. The defaults are those of a training without an epoch.

    Attributes:
      examples: the number of train examples.
      best_epoch, best_loss: the epoch whose weights were saved, and its mean eval loss over the tasks.
    """

    examples: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    epochs: tuple[EpochRecord, ...] = ()


@dataclass(frozen=True)
class EpochCosines:
    """The cosines of two tasks' gradients on what they share, `task|task` -> cosine, at the end of an epoch."""

    epoch: int
    pairs: dict[str, float]


@dataclass(frozen=True)
class EpochWeights:
    """What each task's loss was multiplied by in an epoch."""

    epoch: int
    weights: dict[str, float]


@dataclass(frozen=True)
class TaskChoice:
    """What `routing: auto` chose for a task, by what evaluation judges it by, on the eval split (`models.sharing`).

    Attributes:
      network: which one serves the task, or the mean of both.
      metric: `auc`, or of a regression `mse`, of which less is better; in records of earlier versions `loss`.
      values: of each network.
    """

    network: Network
    metric: str
    values: dict[Network, float | None]


@dataclass(frozen=True)
class Diagnostics:
    """What the tasks made of what they share: `diagnostics.json`, every key of which may be missing (docs/report.md).

    Attributes:
      gate_weights: by gate (`level_1/task_like`), the mean weight that it gives each expert it reads.
      refinement_weights: by task, the mean weight that it gives each field of its input.
      choices: by task, with `routing: auto`.
    """

    gate_weights: dict[str, list[float]] = field(default_factory=dict)
    refinement_weights: dict[str, dict[str, float]] = field(default_factory=dict)
    gradient_cosine: tuple[EpochCosines, ...] = ()
    loss_weights: tuple[EpochWeights, ...] = ()
    choices: dict[str, TaskChoice] = field(default_factory=dict)


def to_json(record: History | Diagnostics) -> str:
    """Returns the file's text."""
    return json.dumps(asdict(record), indent=1)


def parse_history(content: str | bytes) -> History:
    """Reads the text of a `history.json`.

    Raises:
      ValueError: a value of another type, or one that is missing; the message says where.
    """
    return _parse(History, content, HISTORY_FILE)


def parse_diagnostics(content: str | bytes) -> Diagnostics:
    """Reads the text of a `diagnostics.json`.

    Raises:
      ValueError: a value of another type, or one that is missing; the message says where.
    """
    return _parse(Diagnostics, content, DIAGNOSTICS_FILE)


def _parse(record: type[_Record], content: str | bytes, file: str) -> _Record:
    try:
        return TypeAdapter(record).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{file}: {where}: {first['msg']}, got {first['input']!r}") from None
