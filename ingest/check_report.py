"""What `fulcrum check` found, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ingest.statistics.alone import Alone
from schema.columns import ExampleColumn
from schema.spec import RankingSpec
from schema.statistics import Statistic

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
class InputCount:
    """The rows read of a source, and how many of them are left out: as unusable, or as no use to the spec.

    `reasons` has the rows of both, by reason.
    """

    rows: int
    quarantined: int
    unused: int
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class ColumnSample:
    """What a feature holds: `missing` rows, `distinct` values, and the most frequent of them, at most 20.

    Of a multi-valued one the values are those in its lists; vectors are counted, and not shown.
    """

    kind: str
    missing: int
    distinct: int
    values: tuple[str | float, ...]


@dataclass(frozen=True)
class UserSample:
    """A user of the sample: the examples of some of their impressions, by column, in time order."""

    user: str
    impressions: int
    examples: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class StatisticSample:
    """What a statistic is on rows of the log.

    Attributes:
      keys: distinct ones among the impressions.
      missing: the share of the impressions that have no key; all other figures are of those that have one.
      seen: the share whose key had impressions before, over the longest span.
      impressions: the median of these.
      hottest: the share of the key with the most impressions.
      alone: by task, what the best of the rates is worth on the later half.
      state_bytes: what a run carries on to the next day.
      state_in_a_year: the same after a year of as many new keys a day.
    """

    statistic: Statistic
    keys: int
    missing: float
    seen: float
    impressions: float
    hottest: float
    alone: Mapping[str, Alone]
    state_bytes: int
    state_in_a_year: int


@dataclass(frozen=True)
class CheckReport:
    """`rows` read by source (log, users, items); `complete` where that is all there are.

    `statistics_rows` says which rows the statistics were made of; `examples` is how many the rows read would become.
    """

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
    statistics: tuple[StatisticSample, ...] = ()
    statistics_rows: str = ""
    inputs: Mapping[str, InputCount] = field(default_factory=dict)
    column_samples: Mapping[str, ColumnSample] = field(default_factory=dict)
    examples: int = 0
    distinct_users: int = 0
    # By task, the impressions that are in no sample space since their feedback may still come.
    unripe: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Returns whether nothing would stop a run."""
        return not any(finding.severity == "error" for finding in self.findings)
