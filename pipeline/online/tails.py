"""What rows add to the tails of users and of statistics' keys: pure, of what was there to what is there."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from ingest.statistics.answers import Definition
from ingest.statistics.tiles import NEVER, Tiles, merged
from pipeline.online.values import ROWS, records_of, tiles_of_records


@dataclass(frozen=True)
class MergedRows:
    """Rows of several groups, a group after the other.

    Attributes:
      rows: those that are there now.
      edges: int64 [groups + 1], where each group begins.
      added, removed: what has come, and what has gone for it; a row that was replaced by an equal one is in both.
    """

    rows: pa.Table
    edges: np.ndarray
    added: pa.Table
    removed: pa.Table


def merge_rows(
    before: pa.Table, before_group: np.ndarray, new: pa.Table, new_group: np.ndarray, groups: int
) -> MergedRows:
    """Adds rows to those of their groups; a row of the same item, time and event takes an earlier one's place.

    Args:
      before, new: as `rows.parse` gives them.
      before_group, new_group: int64 the group of each, below `groups`; a group's rows are of one user.
    """
    rows = pa.concat_tables([before, new]).combine_chunks()
    group = np.concatenate((before_group, new_group))
    item = rows["item"].combine_chunks().dictionary_encode()
    item = (item.combine_chunks() if isinstance(item, pa.ChunkedArray) else item).indices.to_numpy()
    alike = [group, item, rows["time"].to_numpy()]
    alike += [rows["event"].to_numpy()] if "event" in rows.column_names else []
    # Stable: of rows that are alike the first in the table comes first.
    order = np.lexsort(alike[::-1])
    new_class = np.ones(len(order), bool)
    for values in alike:
        new_class[1:] &= values[order[1:]] == values[order[:-1]]
    new_class[1:] = ~new_class[1:]
    starts = np.flatnonzero(new_class)
    first, last = order[starts], order[np.append(starts[1:], len(order)) - 1] if len(order) else order
    group_order = np.lexsort((first, group[first]))
    content = last[group_order]
    is_gone = np.ones(len(group), bool)
    is_gone[content] = False
    was_there = np.arange(len(group)) < len(before_group)
    return MergedRows(
        rows.take(pa.array(content)),
        np.searchsorted(group[content], np.arange(groups + 1)),
        rows.take(pa.array(np.sort(content[content >= len(before_group)]))),
        rows.filter(pa.array(is_gone & was_there)),
    )


def tail_tiles(definition: Definition, code: np.ndarray, time: np.ndarray, sums: np.ndarray, sign: np.ndarray) -> Tiles:
    """Returns the tiles of rows that are added (`sign` 1) or taken away (-1), with their number as the last sum.

    Args:
      code: the key of each row, -1 where it is missing.
    """
    valid = code >= 0
    code, time, sums, sign = code[valid], time[valid], sums[valid], sign[valid]
    total = np.concatenate((sums * sign[:, None], sign[:, None]), axis=1)
    latest = None
    if definition.statistic.age:
        latest = np.where((total != 0) & (sign[:, None] > 0), time[:, None], NEVER)
    return merged([Tiles(code, definition.tile(time), total, None, latest)])


def merge_records(dtype: np.dtype, before: np.ndarray, before_code: np.ndarray, tiles: Tiles, keys: int) -> list[bytes]:
    """Returns each key's records: those that were there and what `tail_tiles` adds; a tile without rows is none."""
    there = tiles_of_records(before, before_code, False)
    total = np.concatenate((there.total, before[ROWS][:, None]), axis=1)
    latest = there.latest
    if latest is not None:
        latest = np.concatenate((latest, np.full((len(latest), 1), NEVER)), axis=1)
    together = merged([Tiles(there.key, there.tile, total, None, latest), tiles])
    together = together.take(together.total[:, -1] > 0)
    rows = together.total[:, -1]
    trimmed = Tiles(
        together.key,
        together.tile,
        together.total[:, :-1],
        None,
        None if together.latest is None else together.latest[:, :-1],
    )
    records = records_of(trimmed, dtype, rows)
    edges = np.searchsorted(together.key, np.arange(keys + 1)).tolist()
    return [records[start:stop].tobytes() for start, stop in pairwise(edges)]
