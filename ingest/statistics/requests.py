"""When the request of each impression was: the time as of which it sees the statistics."""

import numpy as np
import pyarrow as pa

from schema.spec import RankingSpec

# The start of a request as an earlier run knew it, or -1; a column of carried rows.
START = "request_start"
# Impressions of one request id that lie further apart are of two requests, and none sees statistics older than this.
_LONGEST = 86_400


def longest(spec: RankingSpec) -> int:
    """Returns how far before an impression its request can have begun, in seconds."""
    return _LONGEST if spec.log.request else 0


def with_start(spec: RankingSpec, rows: pa.Table) -> pa.Table:
    """Returns the log's rows with the column START, where the spec has requests and they lack it."""
    if spec.log.request is None or START in rows.column_names:
        return rows
    return rows.append_column(START, pa.array(np.full(rows.num_rows, -1, np.int64)))


def request_times(spec: RankingSpec, rows: pa.Table) -> np.ndarray:
    """Returns int64 [rows]: for impressions the time of their request's first one; for others their own.

    Impressions of a user belong together that have the same request id and no day between one and the next, or, with
    `gap`, no longer pause. One without an id is a request of its own.
    """
    time = rows["time"].to_numpy()
    if spec.log.request is None:
        return time
    start, order, chain = _chains(spec, rows)
    result = time.copy()
    limit = longest(spec) * spec.log.timestamp.ticks_per_second
    result[order] = np.maximum(start[chain], time[order] - limit)
    return result


def carried_starts(spec: RankingSpec, rows: pa.Table, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns which impressions before `horizon` later ones may follow in their request, and START of all rows.

    Returns:
      bool [rows], and int64 [rows]: of impressions before `horizon` the start of their request, else -1.
    """
    time = rows["time"].to_numpy()
    keep, starts = np.zeros(len(time), bool), np.full(len(time), -1, np.int64)
    if spec.log.request is None:
        return keep, starts
    start, order, chain = _chains(spec, rows)
    settled = time[order] < horizon
    starts[order[settled]] = start[chain[settled]]
    last = np.ones(len(order), bool)
    last[:-1] = (chain[1:] != chain[:-1]) | ~settled[1:]
    keep[order[settled & last & (time[order] >= horizon - _pause(spec))]] = True
    return keep, starts


def _pause(spec: RankingSpec) -> int:
    """Returns how far apart two successive impressions of a request may be, in ticks."""
    request = spec.log.request
    seconds = request.gap if request and request.gap else _LONGEST
    return seconds * spec.log.timestamp.ticks_per_second


def _chains(spec: RankingSpec, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the start of each request by its first place, the impressions' order, and each one's first place."""
    time = rows["time"].to_numpy()
    opens = np.ones(len(time), bool)
    if spec.log.layout == "events":
        opens = rows["event"].to_numpy() == 0
    alike = [_codes(rows["user"])]
    if spec.log.request and spec.log.request.column:
        request = _codes(rows["request"])
        # Without an id no two are alike.
        alike.append(np.where(request < 0, -1 - np.arange(len(request)), request))
    order = np.lexsort((time, *reversed(alike)))
    order = order[opens[order]]
    new = np.ones(len(order), bool)
    new[1:] = time[order[1:]] - time[order[:-1]] > _pause(spec)
    for code in alike:
        new[1:] |= code[order[1:]] != code[order[:-1]]
    chain = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    start = time[order]
    if START in rows.column_names:
        stored_start = rows[START].to_numpy()[order]
        start = np.where(stored_start >= 0, stored_start, start)
    return start, order, chain


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    encoded = column.combine_chunks().dictionary_encode()
    indices = encoded.indices if isinstance(encoded, pa.DictionaryArray) else encoded.combine_chunks().indices
    return indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
