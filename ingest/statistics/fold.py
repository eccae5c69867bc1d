"""Tiles -> running sums of each key in the order of time, and what they are at an edge.

Pure. The half-lives' fold takes one multiplication and one addition a tile, in the order of time, so that a fold that
was carried on goes on to the same bits.
"""

from dataclasses import dataclass

import numpy as np

from ingest.statistics.decay import decay
from ingest.statistics.tiles import NEVER, Tiles, pack

# Fewer keys than these are folded one after the other: steps over an array of one would cost more.
_FEW_KEYS = 4


@dataclass(frozen=True)
class Spans:
    """What is asked of the sums, in ticks but for `granularities`, which are tiles.

    Attributes:
      granularity: of a tile.
      half_lives: ticks.
      windows: granularities.
      lifetime: whether sums since ever are asked for.
      expire: granularities without a row after which a key counts as never seen.
    """

    granularity: int
    half_lives: tuple[int, ...]
    windows: tuple[int, ...]
    lifetime: bool
    expire: int | None


@dataclass(frozen=True)
class Answers:
    """Sums at edges: float64 [asks, spans, sums], and int64 [asks, sums] the latest times, where ages are asked for."""

    sums: np.ndarray
    latest: np.ndarray | None


class Fold:
    """The running sums after each of the tiles.

    A key that has expired begins anew: the tiles since its latest such pause are its life.
    """

    def __init__(self, tiles: Tiles, spans: Spans):
        self.tiles, self.spans = tiles, spans
        self.first = _life_starts(tiles, spans.expire)
        self.decayed = [self._halves(number) for number in range(len(spans.half_lives))]
        self._total = _summed(tiles.total) if spans.lifetime else None
        self._window = _summed(tiles.window) if tiles.window is not None else None
        self._latest = None if tiles.latest is None else _last_valid(tiles.latest, self.first)

    def _halves(self, number: int) -> np.ndarray:
        tiles, half_life = self.tiles, self.spans.half_lives[number]
        steps = np.zeros(len(tiles), np.int64)
        steps[1:] = np.where(self.first[1:] == np.arange(1, len(tiles)), 0, tiles.tile[1:] - tiles.tile[:-1])
        factors = decay(steps, self.spans.granularity, half_life)
        values = tiles.total.astype(np.float64)
        if tiles.base is not None and tiles.decayed is not None:
            values[tiles.base] = tiles.decayed[number][tiles.base]
        return _folded(values, factors, self.first)

    def lifetime(self, rows: np.ndarray) -> np.ndarray:
        """Returns int64 [rows, sums]: all that was added up to these tiles, in their life."""
        totals = _summed(self.tiles.total) if self._total is None else self._total
        return totals[rows + 1] - totals[self.first[rows]]

    def latest(self, rows: np.ndarray) -> np.ndarray | None:
        """Returns int64 [rows, sums]: the last time that added to each sum, or NEVER; None without ages."""
        return None if self._latest is None else self._latest[rows]

    def at(self, key: np.ndarray, edge: np.ndarray) -> Answers:
        """Returns the sums of each key's rows before its edge (in tiles): float64, as integers of the fixed point."""
        tiles, spans = self.tiles, self.spans
        after, begin = self._before(key, edge)
        last = np.maximum(after - 1, 0)
        has_rows = after > begin
        if len(tiles):
            steps = np.where(has_rows, edge - tiles.tile[last], 0)
            if spans.expire is not None:
                has_rows &= steps <= spans.expire
        else:
            steps = np.zeros(len(key), np.int64)
        sums = tiles.total.shape[1]
        result = np.zeros((len(key), len(spans.half_lives) + len(spans.windows) + spans.lifetime, sums))
        latest = None if tiles.latest is None else np.full((len(key), sums), NEVER)
        rows, last, steps = np.flatnonzero(has_rows), last[has_rows], steps[has_rows]
        if not len(rows):
            return Answers(result, latest)
        span_index = 0
        for number, half_life in enumerate(spans.half_lives):
            factors = decay(steps, spans.granularity, half_life)
            result[rows, span_index] = self.decayed[number][last] * factors[:, None]
            span_index += 1
        for length in spans.windows:
            assert self._window is not None
            start = np.maximum(self._before(key[rows], edge[rows] - length)[0], self.first[last])
            result[rows, span_index] = self._window[last + 1] - self._window[start]
            span_index += 1
        if spans.lifetime:
            result[rows, span_index] = self.lifetime(last)
        if latest is not None and self._latest is not None:
            latest[rows] = self._latest[last]
        return Answers(result, latest)

    def _before(self, key: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns for each the row after its key's last tile before the edge, and its key's first row."""
        tiles = self.tiles
        if not len(tiles):
            return np.zeros(len(key), np.int64), np.zeros(len(key), np.int64)
        low, high = int(tiles.tile.min()), int(tiles.tile.max())
        # One more for an edge after all tiles.
        size = high - low + 2
        packed = pack(tiles.key, tiles.tile, low, size)
        after = np.searchsorted(packed, pack(key, np.clip(edge, low, high + 1), low, size))
        return after, np.searchsorted(packed, key * size)


def _life_starts(tiles: Tiles, expire: int | None) -> np.ndarray:
    """Returns for each tile the first one of its key since the key had expired."""
    new = np.ones(len(tiles), bool)
    new[1:] = tiles.key[1:] != tiles.key[:-1]
    if expire is not None:
        new[1:] |= tiles.tile[1:] - tiles.tile[:-1] > expire
    return np.maximum.accumulate(np.where(new, np.arange(len(tiles)), 0))


def _summed(values: np.ndarray) -> np.ndarray:
    """Returns the sums of the first 0, 1, … rows."""
    result = np.zeros((len(values) + 1, values.shape[1]), np.int64)
    np.cumsum(values, axis=0, out=result[1:])
    return result


def _last_valid(latest: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Returns for each tile the latest time up to it in its life."""
    rows = np.arange(len(latest))[:, None]
    last = np.maximum.accumulate(np.where(latest != NEVER, rows, -1), axis=0)
    return np.where(last >= first[:, None], np.take_along_axis(latest, np.maximum(last, 0), axis=0), NEVER)


def _folded(values: np.ndarray, factors: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Returns S of each row: its value, and S of the row before it in its life times its factor.

    Goes from rank to rank among a life's tiles, all lives at once: the longest come first, so that those that reach a
    rank stand together.
    """
    rank = np.arange(len(values)) - first
    if not len(rank) or rank.max() == 0:
        return values
    lives = np.flatnonzero(rank == 0)
    length = np.diff(np.append(lives, len(values)))
    longest = np.argsort(-length, kind="stable")
    lives, length = lives[longest], length[longest]
    # alive[r]: how many lives have a tile of rank r.
    alive = len(length) - np.searchsorted(length[::-1], np.arange(1, length[0] + 1))
    position = np.empty(len(values), np.int64)
    position[lives] = np.arange(len(lives))
    starts = np.concatenate(([0], np.cumsum(alive)))
    destination = starts[rank] + position[first]
    order = np.empty(len(values), np.int64)
    order[destination] = np.arange(len(values))
    result, factors = values[order], factors[order][:, None]
    ranks = int(np.count_nonzero(alive >= _FEW_KEYS))
    for number in range(1, ranks):
        size, start, before = alive[number], starts[number], starts[number - 1]
        result[start : start + size] += result[before : before + size] * factors[start : start + size]
    result = result[destination]
    for life, rows in zip(lives[:_FEW_KEYS].tolist(), length[:_FEW_KEYS].tolist(), strict=True):
        if rows > max(ranks, 1):
            begin = life + max(ranks, 1)
            _fold_rest(result[begin - 1 : life + rows], factors[destination[begin : life + rows], 0])
    return result


def _fold_rest(values: np.ndarray, factors: np.ndarray) -> None:
    """Folds one life's rows in place; `values` begins with the row that is folded already."""
    for column in range(values.shape[1]):
        total = float(values[0, column])
        folded = []
        for value, factor in zip(values[1:, column].tolist(), factors.tolist(), strict=True):
            total = value + total * factor
            folded.append(total)
        values[1:, column] = folded
