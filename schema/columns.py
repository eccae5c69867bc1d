"""The columns of an example, derived from the spec: what ingest writes, Transform reads and the model takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from schema.derived import derived_feature
from schema.statistics import Statistic, is_of_item, numbers_read, slots, statistics_of
from schema.tasks import UNIT_INTERVAL, Domain

if TYPE_CHECKING:
    # The spec checks its own names by the columns' and the served tensors'.
    from schema.spec import Feature, RankingSpec, Task

# Stands for a categorical value that the log leaves empty, or whose user or item the tables don't have.
# A missing number is NaN.
MISSING = "__missing__"

USER_ID, ITEM_ID, TIMESTAMP = "user_id", "item_id", "timestamp"
# When the impression's request began, in ticks: written where `log.request` tells, and read by evaluation alone.
REQUEST_START = "request_start"

# What a ranking loss orders within, a number of the request or the user. No feature can have this name.
RANKING_GROUP = "ranking.group"

_PADDING: dict[str, bytes | float | int] = {"string": b"", "float": 0.0, "int": 0}


@dataclass(frozen=True)
class ExampleColumn:
    """One column of an example.

    `ragged` columns hold a list of any length (multi-valued features and behaviour sequences, newest last); the others
    hold exactly one value, or `width` of them (a statistic's slots, see `schema.statistics.slots`, or a vector's
    numbers). A sequence of vectors is one list, `width` values a position. `side` says whose it is when one user's
    candidates are ranked; of `target` are the columns that no request holds.

    What others need to know of the values is asked of the column, and never of the feature's kind: what `layout`,
    `missing`, `padding` and `comparable` return.
    """

    name: str
    role: Literal["id", "timestamp", "request", "feature", "sequence", "statistic", "label", "space", "derived"]
    dtype: Literal["string", "float", "int"]
    side: Literal["user", "item", "target"]
    ragged: bool = False
    # The vocabulary that a string column shares with every other column of that name.
    vocabulary: str | None = None
    # The feature that the values come from; for a sequence, the item feature at each position (None: id or age).
    feature: Feature | None = None
    # The behaviour that a sequence belongs to.
    behaviour: str | None = None
    # How many values a vector has; None is one value, not a vector.
    width: int | None = None
    # How many numbers the model reads of a vector.
    model_width: int | None = None
    # The numbers that a task's label or space may be; None where nothing is said of them.
    domain: Domain | None = None

    @property
    def kind(self) -> str:
        """Returns what the values are to Transform and to the model, by the keys of `models.kinds.KINDS`."""
        if self.side == "target":
            return "target"
        if self.role in ("timestamp", "statistic"):
            return self.role
        if self.feature is not None:
            return self.feature.column_kind
        return "age" if self.vocabulary is None else "id"

    @property
    def is_embedded(self) -> bool:
        """Returns whether each value selects a row of an embedding table."""
        return self.vocabulary is not None or self.kind == "buckets"

    @property
    def layout(self) -> tuple[str, str, bool, int | None]:
        """Returns what a model that reads the column relies on: its name, type, whether it is ragged, its width."""
        return self.name, self.dtype, self.ragged, self.width

    @property
    def missing(self) -> str | float | None:
        """Returns what stands for a missing value, in a vector in all its places; None where none is ever missing.

        A list that is missing is empty.
        """
        if self.role == "statistic":
            return math.nan
        if self.feature is None or self.feature.derive or self.feature.traits.ragged:
            return None
        return MISSING if self.dtype == "string" else math.nan

    @property
    def padding(self) -> bytes | float | int | None:
        """Returns what fills the rows of a request up to the longest list; None where all are of one length."""
        return _PADDING[self.dtype] if self.ragged else None

    @property
    def comparable(self) -> Literal["shares", "divergence"] | None:
        """Returns how the column's distribution is compared: texts by their shares, numbers by a divergence.

        None is a column that differs from day to day by itself.
        """
        if self.role in ("timestamp", "request"):
            return None
        return "shares" if self.dtype == "string" else "divergence"


def label_name(task: Task) -> str:
    """Returns the column that holds the task's label."""
    return f"label_{task.name}"


def space_name(task: Task) -> str:
    """Returns the column that says whether an example is in the task's sample space, 0 or 1 (PLE, eq. 9).

    Where the spec has a `weight`, it holds the example's weight in place of the 1.
    """
    return f"space_{task.name}"


def sequence_features(spec: RankingSpec) -> tuple[Feature, ...]:
    """Returns the item features that go into behaviour sequences: all but the multi-valued ones."""
    return tuple(feature for feature in spec.features_of("items") if not feature.traits.ragged)


def example_columns(spec: RankingSpec) -> tuple[ExampleColumn, ...]:
    """Returns every column of an example, in the order in which it is written.

    Raises:
      ValueError: two parts of the spec would write the same column.
    """
    columns = [
        ExampleColumn(USER_ID, "id", "string", "user", vocabulary=USER_ID),
        ExampleColumn(ITEM_ID, "id", "string", "item", vocabulary=ITEM_ID),
        ExampleColumn(TIMESTAMP, "timestamp", "int", "user"),
    ]
    if spec.log.request:
        columns.append(ExampleColumn(REQUEST_START, "request", "int", "target"))
    columns += [_feature_column(feature) for feature in spec.features]
    for behaviour in spec.behaviours:
        columns += _sequence_columns(behaviour.name, sequence_features(spec))
    columns += [_statistic_column(spec, statistic) for statistic in statistics_of(spec)]
    space = UNIT_INTERVAL if spec.weight is None else Domain(low=0.0)
    for task in spec.tasks:
        columns.append(ExampleColumn(label_name(task), "label", "float", "target", domain=task.domain))
        columns.append(ExampleColumn(space_name(task), "space", "float", "target", domain=space))
    column_by_name: dict[str, ExampleColumn] = {}
    for column in [*columns, *derived_columns(spec)]:
        if column.name in column_by_name:
            raise ValueError(
                f"the example column {column.name!r} would be written twice, as {_shown(column_by_name[column.name])} "
                f"and as {_shown(column)}; rename one of them"
            )
        column_by_name[column.name] = column
    return tuple(columns)


def derived_columns(spec: RankingSpec) -> tuple[ExampleColumn, ...]:
    """Returns the columns that Transform makes of others: no example and no request holds them."""
    sides = {feature.name: _side(feature) for feature in spec.features}
    return tuple(
        _column_of(
            derived_feature(spec, derived),
            derived.name,
            role="derived",
            side="item" if "item" in [sides[name] for name in derived.features] else "user",
        )
        for derived in spec.derive
    )


def model_columns(spec: RankingSpec) -> tuple[ExampleColumn, ...]:
    """Returns the columns that the ranker reads, of the examples and derived.

    No targets, no timestamp, no maps, no ids that the spec doesn't embed.
    """
    return (*(column for column in example_columns(spec) if _is_read(column, spec)), *derived_columns(spec))


def input_columns(spec: RankingSpec) -> tuple[ExampleColumn, ...]:
    """Returns the columns of the examples that the ranker takes: those that it reads, and what others derive from."""
    sources = {name for derived in spec.derive for name in derived.features}
    return tuple(
        column
        for column in example_columns(spec)
        if _is_read(column, spec) or (column.role == "feature" and column.name in sources)
    )


def _is_read(column: ExampleColumn, spec: RankingSpec) -> bool:
    unread = {USER_ID, ITEM_ID} - set(spec.model.embed_ids)
    is_input = column.side != "target" and column.role != "timestamp"
    return is_input and column.vocabulary not in unread and column.kind != "map"


def _feature_column(feature: Feature) -> ExampleColumn:
    return _column_of(
        feature,
        feature.name,
        role="feature",
        side=_side(feature),
        ragged=feature.traits.ragged,
    )


def _side(feature: Feature) -> Literal["user", "item"]:
    return "item" if feature.source == "items" else "user"


def _sequence_columns(behaviour: str, features: tuple[Feature, ...]) -> Iterator[ExampleColumn]:
    column = partial(ExampleColumn, role="sequence", side="user", ragged=True, behaviour=behaviour)
    yield column(f"{behaviour}_{ITEM_ID}", dtype="string", vocabulary=ITEM_ID)
    yield column(f"{behaviour}_age_s", dtype="float")
    for feature in features:
        name = f"{behaviour}_{feature.name}"
        yield _column_of(feature, name, role="sequence", side="user", ragged=True, behaviour=behaviour)


def _column_of(feature: Feature, name: str, **more: Any) -> ExampleColumn:
    """Returns a column of the feature's values; of a vector the model also reads whether it is missing."""
    return ExampleColumn(
        name,
        dtype=feature.traits.dtype,
        vocabulary=feature.vocabulary_name if feature.is_text else None,
        feature=feature,
        width=feature.size,
        model_width=None if feature.size is None else feature.size + 1,
        **more,
    )


def _statistic_column(spec: RankingSpec, statistic: Statistic) -> ExampleColumn:
    side: Literal["user", "item"] = "item" if is_of_item(spec, statistic) else "user"
    return ExampleColumn(
        statistic.column,
        "statistic",
        "float",
        side,
        width=len(slots(spec, statistic)),
        model_width=numbers_read(spec, statistic),
    )


def _shown(column: ExampleColumn) -> str:
    if column.behaviour:
        return f"the {column.role} of behaviour {column.behaviour!r}"
    return f"the {column.role} {column.name!r}"
