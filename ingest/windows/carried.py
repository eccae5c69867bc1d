"""What days carry on: of all rows so far those that an impression or feedback of a later day may still see.

Pure: rows in, rows out. What is carried from a day on equals what its own carried rows and the day's new rows give.
"""

import numpy as np
import pyarrow as pa

from ingest.duplicates import DIGEST
from ingest.rows import events_of
from ingest.statistics.requests import START, carried_starts
from ingest.timeline import rank_encode, time_order
from schema.spec import RankingSpec


def carried(spec: RankingSpec, rows: pa.Table, horizon: int) -> pa.Table:
    """Returns the rows that matter to rows still to come, none of which lies before `horizon` (ticks).

    These are all rows from `horizon` on (late rows may come before them), and of each user and behaviour those that
    are not known yet (`time + delay >= horizon`) and the last `max_length` of the known ones.

    Args:
      rows: as `rows.parse` gives them, all rows so far of each user; or what was carried, with the rows since.

    Returns:
      Their `user`, `item`, `time`, and `event` or the `in:B` of each behaviour, in the order of `rows`, and what later
      rows are compared with, if duplicates are asked about. Where the spec has requests, also the last impression of
      each request that may go on, `request` and `request_start`.
    """
    rows = rows.combine_chunks()
    user, item, time = rank_encode(rows["user"])[1], rank_encode(rows["item"])[1], rows["time"].to_numpy()
    # In the order of `timeline.join`, so that of simultaneous rows the same ones are the last.
    order = time_order(spec, user, item, time)
    members = _members(spec, rows)
    keep = time >= horizon
    for behaviour in spec.behaviours:
        member = members[behaviour.name]
        is_known = member & (time + behaviour.delay * spec.log.timestamp.ticks_per_second < horizon)
        keep |= member & ~is_known
        keep[_last(user, order[is_known[order]], behaviour.max_length)] = True
    members_of = (name for name in rows.column_names if name in ("event", DIGEST) or name[:3] == "in:")
    names = ["user", "item", "time", *members_of]
    if spec.log.request:
        followed, starts = carried_starts(spec, rows, horizon)
        keep |= followed
        rows = rows.drop_columns([START]).append_column(START, pa.array(starts))
        names += [name for name in ("request", START) if name in rows.column_names]
    return rows.select(names).filter(pa.array(keep))


def _last(user: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Returns the last `count` of each user of `rows`, which are sorted by user."""
    whose = user[rows]
    end = np.searchsorted(whose, whose, side="right")
    return rows[end - np.arange(len(rows)) <= count]


def _members(spec: RankingSpec, rows: pa.Table) -> dict[str, np.ndarray]:
    if spec.log.layout == "events":
        event, names = rows["event"].to_numpy(), events_of(spec)
        return {behaviour.name: event == names.index(str(behaviour.event)) for behaviour in spec.behaviours}
    return {behaviour.name: rows[f"in:{behaviour.name}"].to_numpy() for behaviour in spec.behaviours}


def prepend_carried(rows: pa.Table | None, carried_rows: pa.Table | None) -> pa.Table | None:
    """Returns the carried rows and after them the `rows`; what carried rows lack (they are no examples) is empty."""
    if rows is None or carried_rows is None:
        return rows if carried_rows is None else carried_rows
    columns = {}
    for field in rows.schema:
        if field.name in carried_rows.column_names:
            columns[field.name] = carried_rows[field.name].cast(field.type)
        elif field.name.startswith("feature:"):
            columns[field.name] = pa.nulls(carried_rows.num_rows, field.type)
        else:
            zeros = np.zeros(carried_rows.num_rows, field.type.to_pandas_dtype())
            columns[field.name] = pa.array(zeros, field.type)
    return pa.concat_tables([pa.table(columns, rows.schema), rows])
