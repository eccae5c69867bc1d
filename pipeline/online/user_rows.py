"""A user's rows on their way into a request: those that events have added, and what the last one says; and its ids."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ingest.rank_request import RequestError
from ingest.values import Column, MissingWords, Rejects
from pipeline.online.values import Layout, Seal, present_texts, with_user


def read_tails(
    layout: Layout,
    digest: str,
    user: str,
    days: Sequence[int],
    keys: Sequence[bytes],
    values: Sequence[bytes | None],
) -> list[pa.Table]:
    """Returns the rows that each day has added of a user."""
    tables = []
    for day, key, value in zip(days, keys, values, strict=False):
        if value is not None:
            rows, _, _ = layout.tail.unpack([Seal.of_tail(digest, day).open(key, value)])
            tables.append(with_user(present_texts(rows), [user] * len(rows), layout.log_schema))
    return tables


def rows_until(rows: pa.Table, moment: int) -> pa.Table:
    """Returns the rows that aren't later than a moment, in ticks."""
    time = rows["time"].to_numpy()
    return rows if (time <= moment).all() else rows.filter(pa.array(time <= moment))


def last_features(rows: pa.Table) -> dict[str, object]:
    """Returns the features of the latest row, of equally late ones the last; none without a row."""
    if rows.num_rows == 0:
        return {}
    time = rows["time"].to_numpy()
    last = rows.num_rows - 1 - int(np.argmax(time[::-1]))
    return {name: rows[name][last].as_py() for name in rows.column_names if name.startswith("feature:")}


def ids_of(texts: Sequence[str], name: str) -> list[str]:
    """Returns ids as ingest would read them from a log.

    Raises:
      RequestError: one is empty or can't be one.
    """
    rejects = Rejects(len(texts))
    ids = Column(name, pa.array(texts, pa.string()), rejects, MissingWords()).ids()
    if rejects.reasons:
        row, (_, reason) = min(rejects.reasons.items())
        raise RequestError(reason if len(texts) == 1 else f"{reason}, at place {row}")
    return ids.to_pylist()
