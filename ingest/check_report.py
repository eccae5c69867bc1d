"""What `fulcrum check` found, as data."""

from dataclasses import dataclass
from typing import Any, Literal

from schema.columns import ExampleColumn
from schema.spec import RankingSpec

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """Something to know of the logs; an `error` would stop a run. `where` is a part of the spec or a folder."""

    severity: Severity
    where: str
    message: str


@dataclass(frozen=True)
class TaskSample:
    """A task's labels in the sample; `positive` is their sum (a regression's too)."""

    name: str
    is_regression: bool
    impressions: int
    in_space: int
    positive: float


@dataclass(frozen=True)
class UserSample:
    """A user of the sample: the examples of some of their impressions, by column, in time order."""

    user: str
    impressions: int
    examples: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class CheckReport:
    """`rows` read by source (log, users, items); `complete` where that is all there are."""

    spec: RankingSpec
    logs: str
    files: dict[str, int]
    rows: dict[str, int]
    complete: bool
    period: tuple[str, str] | None
    tasks: tuple[TaskSample, ...]
    columns: tuple[ExampleColumn, ...]
    users: tuple[UserSample, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Returns whether nothing would stop a run."""
        return not any(finding.severity == "error" for finding in self.findings)
