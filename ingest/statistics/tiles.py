"""Sums by key and tile: integers, so that they merge in any order to the same bits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The latest time of what never was.
NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Tiles:
    """Sums of rows by key and tile, sorted by both and distinct; tile n is the times from n·g to (n+1)·g.

    What has been folded already (`ingest.statistics.state`) stands at its key's last tile: there `base` holds, `total`
    is the sum of all rows so far, and `decayed` what the half-lives have left of it.

    Attributes:
      key: int64 [tiles].
      tile: int64 [tiles].
      total: int64 [tiles, sums], what lifetime and half-lives add.
      window: int64 [tiles, sums], what windows add; the same but for what has been folded. None without windows.
      latest: int64 [tiles, sums], the last time of a row that added to the sum, or NEVER. None without ages.
      base: bool [tiles]; None if nothing has been folded.
      decayed: float64 [half-lives, tiles, sums], 0 where `base` doesn't hold; None if nothing has been folded.
    """

    key: np.ndarray
    tile: np.ndarray
    total: np.ndarray
    window: np.ndarray | None = None
    latest: np.ndarray | None = None
    base: np.ndarray | None = None
    decayed: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: np.ndarray) -> "Tiles":
        """Returns the tiles at `rows` (places or a mask), in that order."""
        return Tiles(
            self.key[rows],
            self.tile[rows],
            self.total[rows],
            None if self.window is None else self.window[rows],
            None if self.latest is None else self.latest[rows],
            None if self.base is None else self.base[rows],
            None if self.decayed is None else self.decayed[:, rows],
        )


def tiles_of(key: np.ndarray, tile: np.ndarray, sums: np.ndarray, time: np.ndarray | None, windows: bool) -> Tiles:
    """Returns the sums of rows by key and tile.

    Args:
      key: int64 [rows], not negative.
      tile: int64 [rows].
      sums: int64 [rows, sums], what each row adds.
      time: int64 [rows], where ages are asked for.
      windows: whether windows are.
    """
    latest = None if time is None else np.where(sums != 0, time[:, None], NEVER)
    return merged([Tiles(key, tile, sums, sums if windows else None, latest)])


def merged(parts: Sequence[Tiles]) -> Tiles:
    """Returns the sum of parts that are made alike, whose rows may come in any order and repeat a key and tile."""
    key = np.concatenate([part.key for part in parts])
    tile = np.concatenate([part.tile for part in parts])
    order, starts = sorted_groups(key, tile)
    first = order[starts]

    def gathered(name: str) -> np.ndarray | None:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)[order]

    total, latest = gathered("total"), gathered("latest")
    assert total is not None
    alike = all(part.window is part.total for part in parts)
    window = None if alike else gathered("window")
    base = decayed = None
    if any(part.base is not None for part in parts):
        base = np.concatenate([_base(part) for part in parts])[order]
        halves = next(part.decayed.shape[0] for part in parts if part.decayed is not None)
        decayed = np.concatenate([_decayed(part, halves) for part in parts], axis=1)[:, order]
        # A key has one base: there is nothing to round.
        base = np.logical_or.reduceat(base, starts) if len(starts) else base
        decayed = np.add.reduceat(decayed, starts, axis=1) if len(starts) else decayed
    total = _reduced(np.add, total, starts)
    if window is not None:
        window = _reduced(np.add, window, starts)
    return Tiles(
        key[first],
        tile[first],
        total,
        total if alike else window,
        None if latest is None else _reduced(np.maximum, latest, starts),
        base,
        decayed,
    )


def sorted_groups(key: np.ndarray, tile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of the rows by key and tile, and where in it each distinct pair begins."""
    packed = pack(key, tile, *_range(tile))
    order = np.argsort(packed, kind="stable")
    packed = packed[order]
    new = np.ones(len(packed), bool)
    new[1:] = packed[1:] != packed[:-1]
    return order, np.flatnonzero(new)


def pack(key: np.ndarray, tile: np.ndarray, low: int, size: int) -> np.ndarray:
    """Returns key and tile as one number that sorts as they do; tiles lie in `[low, low + size)`."""
    return key * size + (tile - low)


def _range(tile: np.ndarray) -> tuple[int, int]:
    if not len(tile):
        return 0, 1
    low = int(tile.min())
    return low, int(tile.max()) - low + 1


def _reduced(function: np.ufunc, values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return values if len(starts) == len(values) else function.reduceat(values, starts, axis=0)


def _base(part: Tiles) -> np.ndarray:
    return np.zeros(len(part), bool) if part.base is None else part.base


def _decayed(part: Tiles, halves: int) -> np.ndarray:
    return np.zeros((halves, *part.total.shape)) if part.decayed is None else part.decayed
