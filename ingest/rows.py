"""What the spec wants of a row: raw columns -> a typed table, one row each, and the rows that are left out.

The table of log rows has `user`, `item` (text), `time` (int64 ticks) and
- layout events: `event` (int8), the place of its name in `events_of`;
- layout impressions: `in:B` (bool) for each behaviour, `label:T` (float32) and `space:T` (bool) for each task;
- `feature:F` for each feature from the log, as its kind's reader types it (`ingest.kinds`), null or NaN = missing;
- where statistics want them: `request` (text), and in layout impressions `sum:S` (bool, or int64 in fixed point) for
  each space and measure;
- where the spec has a weight, `weight` (float32), NaN = missing;
- where the spec asks about duplicates: what `ingest.duplicates` compares rows by, and where they stand.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ingest.conditions import filtered, holds
from ingest.duplicates import with_digests
from ingest.errors import IngestError
from ingest.formats import read_file
from ingest.kinds import reader_of
from ingest.raw import BadRow, RawBatch
from ingest.sources import SourceFile
from ingest.statistics.sums import fixed_point
from ingest.times import times
from ingest.values import Column, MissingWords, Rejects, shown
from schema.files import even
from schema.spec import Condition, RankingSpec, Table, Task
from schema.statistics import Sum, all_sums

_MOST_TEXT = 500
# What is said of a time that no row of a daily folder may have.
NOT_OF_THE_FOLDER = "not a time of the daily folder (nor within log.allowed_lateness of it)"


def events_of(spec: RankingSpec) -> tuple[str, ...]:
    """Returns the events that the spec names, the one that opens an example first; none in layout impressions."""
    conditions: list[Condition] = [*spec.behaviours, *spec.tasks]
    conditions += [task.within for task in spec.tasks if task.within]
    conditions += spec.statistics.measures if spec.statistics else ()
    names = [spec.log.impression] + [condition.event for condition in conditions]
    return tuple(dict.fromkeys(name for name in names if name is not None))


def log_columns(spec: RankingSpec) -> dict[str, str]:
    """Returns each column of the log that the spec reads, with the section (the first) that needs it."""
    log = spec.log
    readers = {log.user: "log.user"}
    readers.setdefault(log.item, "log.item")
    if log.timestamp.column:
        readers.setdefault(log.timestamp.column, "log.timestamp")
    if log.event:
        readers.setdefault(log.event, "log.event")
    for feature in spec.features_of("log"):
        if not feature.derive:
            readers.setdefault(feature.source_column, f"feature {feature.name!r}")
    conditions: list[tuple[str, Condition]] = [
        (f"behaviour {behaviour.name!r}", behaviour) for behaviour in spec.behaviours
    ]
    for task in spec.tasks:
        conditions.append((f"task {task.name!r}", task))
        if task.ratio:
            readers.setdefault(task.ratio.numerator, f"task {task.name!r}")
            readers.setdefault(task.ratio.denominator, f"task {task.name!r}")
        if task.within:
            conditions.append((f"task {task.name!r} (within)", task.within))
    for measure in spec.statistics.measures if spec.statistics else ():
        conditions.append((f"statistics measure {measure.name!r}", measure))
        if measure.sum:
            readers.setdefault(measure.sum, f"statistics measure {measure.name!r}")
    if log.request and log.request.column:
        readers.setdefault(log.request.column, "log.request")
    if spec.weight:
        readers.setdefault(spec.weight.column, "weight")
    conditions += [(f"log.where[{i}]", row_filter) for i, row_filter in enumerate(log.where)]
    for who, condition in conditions:
        if condition.column:
            readers.setdefault(condition.column, who)
    return readers


def table_columns(spec: RankingSpec, source: str) -> dict[str, str]:
    """Returns each column of the `users` or `items` table that the spec reads, with the section that needs it."""
    readers = {_table(spec, source).key: f"{source}.key"}
    for feature in spec.features_of(source):
        readers.setdefault(feature.source_column, f"feature {feature.name!r}")
    for i, row_filter in enumerate(_table(spec, source).where):
        readers.setdefault(str(row_filter.column), f"{source}.where[{i}]")
    return readers


def columns_of(spec: RankingSpec, source: str) -> dict[str, str]:
    return log_columns(spec) if source == "log" else table_columns(spec, source)


def required_columns(spec: RankingSpec, source: str) -> set[str]:
    """Returns the columns that each file of a source must have: without them no row can be used."""
    if source != "log":
        return {_table(spec, source).key}
    columns = (spec.log.user, spec.log.item, spec.log.timestamp.column, spec.log.event)
    return {column for column in columns if column}


def separators_of(spec: RankingSpec, source: str) -> dict[str, str | None]:
    """Returns what separates the values in a cell, for those columns of a source that may hold several.

    None is for a column of maps.
    """
    separators: dict[str, str | None] = {}
    for feature in spec.features_of(source):
        separator = None if feature.derive else reader_of(feature).separator(feature)
        if separator or feature.kind == "map":
            separators.setdefault(feature.source_column, separator)
    return separators


def read_source(spec: RankingSpec, file: SourceFile) -> Iterator[RawBatch]:
    """Yields the columns of a file that the spec reads, batch by batch.

    Raises:
      IngestError: the file can't be read, or lacks a column without which no row can be used.
    """
    source = file.source
    required = required_columns(spec, source)
    columns, separators = columns_of(spec, source), separators_of(spec, source)
    for batch in read_file(file.path, columns, separators, getattr(spec, source)):
        for column, sentence in batch.absent.items():
            if column in required:
                raise IngestError(sentence)
        yield batch


@dataclass
class Unused:
    """How many rows are of no use to the spec: of events that it doesn't name, by name, and others, by reason."""

    events: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)

    def add(self, unused: "Unused") -> None:
        self.events.update(unused.events)
        self.reasons.update(unused.reasons)

    def by_reason(self) -> Counter:
        """Returns the number of all, by a reason in words."""
        return self.reasons + Counter({f"the event {name!r} is not in the spec": n for name, n in self.events.items()})


def parse(
    spec: RankingSpec,
    source: str,
    batch: RawBatch,
    times_between: tuple[int, int] | None = None,
    not_between: str = NOT_OF_THE_FOLDER,
) -> tuple[pa.Table, list[BadRow], Unused]:
    """Returns a batch's typed rows, those left out (the batch's own among them), and how many are of no use.

    A row that the source's `where` leaves out is unused, whatever else is wrong with it.

    Rows of the `users` and `items` tables have `key` and a `feature:F` for each feature of the table.

    Args:
      times_between: rows of the log at other times than `[low, high)` are left out.
      not_between: what is said of those.
    """
    rejects = Rejects(len(batch.rows))
    missing = MissingWords.of(getattr(spec, source))
    columns = {name: Column(name, array, rejects, missing) for name, array in batch.columns.items()}
    unused = Unused()
    try:
        left_out, unused.reasons = filtered(getattr(spec, source).where, columns, rejects)
        table = pa.table(_values(spec, source, columns, len(batch.rows)))
    except IngestError as error:
        raise IngestError(f"{batch.file}: {error}") from None
    if times_between and spec.log.timestamp.column:
        time = columns[spec.log.timestamp.column]
        outside = (table["time"].to_numpy() < times_between[0]) | (table["time"].to_numpy() >= times_between[1])
        rejects.add(outside, f"{time.name}: {not_between}", time.shown)
    if source == "log" and spec.log.event:
        # What an event that the spec doesn't use lacks makes it no bad row.
        names = columns[spec.log.event].texts()
        is_unnamed = (table["event"].to_numpy() < 0) & names.is_valid().to_numpy(zero_copy_only=False) & ~left_out
        counts = pc.value_counts(names.filter(pa.array(is_unnamed)))
        unused.events.update({count["values"]: count["counts"] for count in counts.to_pylist()})
        left_out = left_out | is_unnamed
    rejects.forgive(left_out)
    keep = ~rejects.mask & ~left_out
    bad = [
        BadRow(int(batch.rows[row]), reason, detail, _text(batch, row))
        for row, (reason, detail) in rejects.reasons.items()
    ]
    if source == "log":
        table = with_digests(spec, table, batch)
    return table if keep.all() else table.filter(pa.array(keep)), [*batch.bad, *bad], unused


def _values(spec: RankingSpec, source: str, columns: Mapping[str, Column], rows: int) -> dict[str, pa.Array]:
    is_log = source == "log"
    values = _log_values(spec, columns, rows) if is_log else {"key": columns[_table(spec, source).key].ids()}
    for feature in spec.features_of(source):
        if not feature.derive:
            values[f"feature:{feature.name}"] = reader_of(feature).parse(feature, columns[feature.source_column])
    return values


def _table(spec: RankingSpec, source: str) -> Table:
    table = getattr(spec, source)
    if table is None:
        raise ValueError(f"the spec {spec.name!r} has no `{source}` table")
    return table


def _text(batch: RawBatch, row: int) -> str:
    values = {name: array[row].as_py() for name, array in batch.columns.items()}
    short = {
        name: value if isinstance(value, int | float | bool) else shown(value)[:80] for name, value in values.items()
    }
    return orjson.dumps(short).decode()[:_MOST_TEXT]


def _log_values(spec: RankingSpec, columns: Mapping[str, Column], rows: int) -> dict[str, pa.Array]:
    log = spec.log
    values: dict[str, pa.Array] = {
        "user": columns[log.user].ids(),
        "item": columns[log.item].ids(),
        "time": pa.array(
            times(columns[log.timestamp.column], log.timestamp) if log.timestamp.column else _no_times(rows)
        ),
    }
    if log.request and log.request.column:
        values["request"] = columns[log.request.column].texts()
    if log.event:
        event = columns[log.event]
        names = event.texts()
        event.rejects.add(pc.is_null(names).to_numpy(zero_copy_only=False), f"{log.event}: the event is missing")
        places = pc.index_in(names, pa.array([even(name) for name in events_of(spec)], pa.string()))
        values["event"] = pc.fill_null(places, -1).cast(pa.int16())
        if spec.weight:
            values["weight"] = _weights(columns[spec.weight.column], values["event"].to_numpy() == 0)
        return values
    if spec.weight:
        values["weight"] = _weights(columns[spec.weight.column], np.ones(rows, bool))
    for behaviour in spec.behaviours:
        values[f"in:{behaviour.name}"] = pa.array(holds(behaviour, columns) == 1)
    for task in spec.tasks:
        label, space = _label(task, columns)
        values[f"label:{task.name}"], values[f"space:{task.name}"] = pa.array(label), pa.array(space)
    for sum_ in all_sums(spec):
        if sum_.role in ("space", "measure"):
            values[f"sum:{sum_.name}"] = pa.array(_summed(sum_, columns))
    return values


def _weights(column: Column, opens: np.ndarray) -> pa.Array:
    """Returns the weights, float32, of the rows that open an example; NaN = missing. Rejects negative ones."""
    weights = column.numbers()
    column.rejects.add(opens & (weights < 0), f"{column.name}: expected a weight of at least 0", column.shown)
    return pa.array(np.where(opens & (weights >= 0), weights, np.nan).astype(np.float32))


def _no_times(rows: int) -> np.ndarray:
    return np.zeros(rows, np.int64)


def _summed(sum_: Sum, columns: Mapping[str, Column]) -> np.ndarray:
    """Returns what each row adds to a sum: whether its condition holds, or a value in fixed point (0 if missing)."""
    column = getattr(sum_.condition, "sum", None)
    if column is None:
        return holds(sum_.condition, columns) == 1  # type: ignore[arg-type]
    return fixed_point(columns[column].numbers(), sum_.bits)


def _label(task: Task, columns: Mapping[str, Column]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the task's label (float32, 0 outside its space) and whether a row is in its space (PLE, eq. 9).

    A condition's label is 1 or 0, a ratio's `clip(numerator / denominator, 0, 1)`, a column's value times `scale`. A
    row whose feedback is missing, or whose denominator isn't above 0, is outside the space. Rejects what is in the
    space and outside of the task's domain.
    """
    if task.task_kind == "unbounded":
        label = columns[str(task.column)].numbers() * task.scale
        space = ~np.isnan(label)
    elif task.ratio:
        numerator = columns[task.ratio.numerator].numbers()
        denominator = columns[task.ratio.denominator].numbers()
        space = (denominator > 0) & ~np.isnan(numerator)
        label = np.clip(numerator / np.where(space, denominator, 1), 0, 1)
    else:
        truth = holds(task, columns)
        space, label = truth >= 0, truth == 1
    if task.within:
        space = space & (holds(task.within, columns) == 1)
    if task.task_kind == "unbounded":
        _reject_impossible(task, columns[str(task.column)], label, space)
    return np.where(space, label, 0).astype(np.float32), space


def _reject_impossible(task: Task, column: Column, label: np.ndarray, space: np.ndarray) -> None:
    """Rejects the rows of the space whose label isn't of the task's domain, or too large for an example's float32."""
    space_label = np.where(space, label, 0)
    huge = np.abs(space_label) > np.finfo(np.float32).max
    column.rejects.add(huge, f"{column.name}: expected a finite label of {task.name}", column.shown)
    outside = (space_label < task.domain.low) | (space_label > task.domain.high)
    column.rejects.add(
        outside & ~huge,
        f"{column.name}: expected {task.domain}, of which {task.name} takes {task.transform}",
        column.shown,
    )
    label[huge] = 0
