"""The point-in-time join: users' rows -> impressions with labels and with what each user did strictly before.

Pure and without Beam; one call takes the rows of many users and works on whole arrays, the user being a group key.
Sequences stay index ranges here, so that a user with a million events costs a million rows and not their product.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.rows import events_of
from schema.spec import RankingSpec


@dataclass(frozen=True)
class Sequence:
    """One behaviour: impression i saw `rows[start[i]:stop[i]]`, oldest first (`rows` are rows of `Timelines`)."""

    rows: np.ndarray  # int64 [behaviour rows]
    start: np.ndarray  # int64 [impressions]
    stop: np.ndarray  # int64 [impressions]


@dataclass(frozen=True)
class Timelines:
    """Rows sorted by user, time and item; `impressions` are the rows that become examples."""

    users: pa.Array  # text [distinct users]
    items: pa.Array  # text [distinct items], sorted
    user: np.ndarray  # int32 [rows], into `users`
    item: np.ndarray  # int32 [rows], into `items`
    time: np.ndarray  # int64 [rows], ticks
    source: np.ndarray  # int64 [rows], the row of the input table
    impressions: np.ndarray  # int64 [impressions], into the rows
    sequences: dict[str, Sequence]
    labels: dict[str, np.ndarray]  # float32 [impressions]
    spaces: dict[str, np.ndarray]  # bool [impressions]
    # Per task: feedback events that found their impression, and that did not (layout events).
    attributed: dict[str, tuple[int, int]]
    # What each impression counts for, float32 [impressions]; None where all count alike. One of 0 is in no space.
    weights: np.ndarray | None = None

    def only(self, keep: np.ndarray) -> "Timelines":
        """Returns the same rows, of which the impressions where `keep` (bool [impressions]) holds become examples."""
        return replace(
            self,
            impressions=self.impressions[keep],
            sequences={
                name: Sequence(sequence.rows, sequence.start[keep], sequence.stop[keep])
                for name, sequence in self.sequences.items()
            },
            labels={name: values[keep] for name, values in self.labels.items()},
            spaces={name: values[keep] for name, values in self.spaces.items()},
            weights=None if self.weights is None else self.weights[keep],
        )


def join(spec: RankingSpec, rows: pa.Table) -> Timelines:
    """Joins the rows that `rows.parse` returns, all of a user's rows together, to timelines.

    The result depends on the order of `rows` only where user, item and time are all equal (there the later row is the
    later event), or with `log.order: file` where user and time are.
    """
    rows = rows.combine_chunks()
    users, user = rank_encode(rows["user"])
    items, item = rank_encode(rows["item"])
    time = rows["time"].to_numpy()
    order = time_order(spec, user, item, time)
    user, item, time = user[order], item[order], time[order]
    if spec.log.layout == "events":
        event = rows["event"].to_numpy()[order]
        code = {name: number for number, name in enumerate(events_of(spec))}
        impressions = np.flatnonzero(event == 0)
        members = {behaviour.name: event == code[str(behaviour.event)] for behaviour in spec.behaviours}
        labels, spaces, attributed = _attributed_labels(spec, code, user, item, time, event)
    else:
        impressions = np.arange(len(user))
        members = {behaviour.name: _numpy(rows[f"in:{behaviour.name}"])[order] for behaviour in spec.behaviours}
        labels = {task.name: _numpy(rows[f"label:{task.name}"])[order] for task in spec.tasks}
        spaces = {task.name: _numpy(rows[f"space:{task.name}"])[order] for task in spec.tasks}
        attributed = {}
    weights = None
    if "weight" in rows.column_names:
        weights = _numpy(rows["weight"])[order][impressions]
        weights = np.where(np.isnan(weights), np.float32(1), weights)
        labels = {task: np.where(weights > 0, label, 0).astype(np.float32) for task, label in labels.items()}
        spaces = {task: space & (weights > 0) for task, space in spaces.items()}
    return Timelines(
        users=users,
        items=items,
        user=user,
        item=item,
        time=time,
        source=order,
        impressions=impressions,
        sequences=_sequences(spec, user, time, impressions, members),
        labels=labels,
        spaces=spaces,
        attributed=attributed,
        weights=weights,
    )


def time_order(spec: RankingSpec, user: np.ndarray, item: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Returns the order of rows by user and time; ties go by item, or stay as they stand in the logs."""
    return np.lexsort((time, user) if spec.log.order == "file" else (item, time, user))


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy()


def rank_encode(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Returns the distinct values, sorted, and each row's rank among them: ties go by value, not by file order."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int32)
    rank[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    return encoded.dictionary.take(order), rank[encoded.indices.to_numpy()]


def _group_starts(*keys: np.ndarray) -> np.ndarray:
    """Returns per row the first row of its run of equal keys."""
    size = len(keys[0])
    new = np.zeros(size, bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.maximum.accumulate(np.where(new, np.arange(size), 0))


def _sequences(
    spec: RankingSpec, user: np.ndarray, time: np.ndarray, impressions: np.ndarray, members: Mapping[str, np.ndarray]
) -> dict[str, Sequence]:
    """Returns what each impression may see: the last `max_length` rows with `time + delay < the impression's time`."""
    first = _group_starts(user)[impressions]
    simultaneous = _group_starts(user, time)[impressions]
    sequences = {}
    for behaviour in spec.behaviours:
        delay = behaviour.delay * spec.log.timestamp.ticks_per_second
        visible_until = simultaneous
        if delay:
            visible_until = _first_at_or_after(time, first, simultaneous, time[impressions] - delay)
        # count[r]: rows of the behaviour among the first r rows.
        count = np.concatenate(([0], np.cumsum(members[behaviour.name])))
        stop = count[visible_until]
        start = np.maximum(count[first], stop - behaviour.max_length)
        sequences[behaviour.name] = Sequence(np.flatnonzero(members[behaviour.name]), start, stop)
    return sequences


def _first_at_or_after(time: np.ndarray, start: np.ndarray, stop: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Bisects: for each i the first row in `start[i]:stop[i]` with `time >= moment[i]`, else `stop[i]`."""
    low, high = start.copy(), stop.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        earlier = open_ & (time[np.minimum(middle, len(time) - 1)] < moment)
        low = np.where(earlier, middle + 1, low)
        high = np.where(open_ & ~earlier, middle, high)
    return low


def _attributed_labels(
    spec: RankingSpec,
    code: Mapping[str, int],
    user: np.ndarray,
    item: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, tuple[int, int]]]:
    """Labels, by each feedback event, the last impression of its user and item strictly before it, in the window."""
    impressions = np.flatnonzero(event == 0)
    impression_index = np.cumsum(event == 0) - 1
    labelled_row = _impression_before(spec, user, item, time, event)
    received: dict[str, np.ndarray] = {}
    for name, number in code.items():
        labelled = labelled_row[(event == number) & (labelled_row >= 0)]
        received[name] = np.zeros(len(impressions), bool)
        received[name][impression_index[labelled]] = True
    labels, spaces, attributed = {}, {}, {}
    for task in spec.tasks:
        feedback = event == code[str(task.event)]
        attributed[task.name] = (
            int((feedback & (labelled_row >= 0)).sum()),
            int((feedback & (labelled_row < 0)).sum()),
        )
        space = received[str(task.within.event)] if task.within else np.ones(len(impressions), bool)
        spaces[task.name] = space
        labels[task.name] = (received[str(task.event)] & space).astype(np.float32)
    return labels, spaces, attributed


def _impression_before(
    spec: RankingSpec, user: np.ndarray, item: np.ndarray, time: np.ndarray, event: np.ndarray
) -> np.ndarray:
    """Returns per row the last impression of its user and item strictly before it and in the window, else -1."""
    # Stable: within a user and item the rows stay sorted by time.
    order = np.lexsort((item, user))
    user, item, time = user[order], item[order], time[order]
    position = np.arange(len(order))
    last = np.maximum.accumulate(np.where(event[order] == 0, position, -1))
    before = _group_starts(user, item, time) - 1
    candidate = np.where(before >= 0, last[before], -1)
    window = (spec.log.attribution_window or 0) * spec.log.timestamp.ticks_per_second
    valid = (candidate >= _group_starts(user, item)) & (time - time[candidate] <= window)
    labelled = np.full(len(order), -1)
    labelled[order] = np.where(valid, order[candidate], -1)
    return labelled
