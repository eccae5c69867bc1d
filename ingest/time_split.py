"""Where the splits are cut: exact shares of the impressions by time, from counts of times that merge in any order.

By user it is the same, of a number that each user has at random in place of the time.
"""

import zlib
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schema.spec import Split

SPLITS = ("train", "eval", "test")


def split_keys(split: Split, users: pa.Array | None, user: np.ndarray | None, times: np.ndarray) -> np.ndarray:
    """Returns what impressions are split by, int64: their times, or a number of their user (CRC-32).

    Args:
      users, user: the distinct users, and each impression's place among them; not needed by time.
    """
    if split.by == "time" or users is None:
        return times
    numbers = [zlib.crc32(b"split " + text) for text in users.cast(pa.binary()).to_pylist()]
    return np.array(numbers, np.int64)[user]


@dataclass(frozen=True)
class TimeCounts:
    """How often each time occurs; times are `value << shift`, the bits below `shift` being dropped."""

    values: np.ndarray  # int64, sorted
    counts: np.ndarray  # int64
    shift: int = 0

    @classmethod
    def of(cls, times: np.ndarray) -> "TimeCounts":
        return cls(*np.unique(times, return_counts=True))


def merged(parts: list[TimeCounts], most: int = 1 << 20) -> TimeCounts:
    """Returns the sum of the parts, coarse enough to hold at most `most` distinct values.

    A part needs the coarseness that the whole needs at most, so that the result is the same for every order of merging.
    """
    shift = max((counted.shift for counted in parts), default=0)
    values = [counted.values >> (shift - counted.shift) for counted in parts]
    distinct, inverse = np.unique(np.concatenate([*values, np.zeros(0, np.int64)]), return_inverse=True)
    counts = np.zeros(len(distinct), np.int64)
    np.add.at(counts, inverse, np.concatenate([*(counted.counts for counted in parts), np.zeros(0, np.int64)]))
    result = TimeCounts(distinct, counts, shift)
    while len(result.values) > most:
        result = merged([TimeCounts(result.values >> 1, result.counts, result.shift + 1)], len(result.values))
    return result


class CountTimes(beam.CombineFn):
    """Sums `TimeCounts`."""

    def create_accumulator(self) -> TimeCounts:
        return TimeCounts(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def add_input(self, accumulator: TimeCounts, element: TimeCounts) -> TimeCounts:
        return merged([accumulator, element])

    def merge_accumulators(self, accumulators: list[TimeCounts]) -> TimeCounts:
        return merged(list(accumulators))

    def extract_output(self, accumulator: TimeCounts) -> TimeCounts:
        return accumulator


def cut_times(split: Split, times: TimeCounts) -> tuple[tuple[int, int], dict[str, int]]:
    """Returns the times from which eval and test begin, and how many impressions each split holds.

    Test is the last `split.test` of the impressions, eval the `split.eval` before them; equal times stay together, in
    the later split.
    """
    upto = np.concatenate(([0], np.cumsum(times.counts)))
    total = int(upto[-1])
    cuts, before = [], []
    for share in (split.eval + split.test, split.test):
        # The impression at this place, counted from the earliest, is the first of its split.
        first_of_split = total - round(total * share)
        index = int(np.searchsorted(upto, first_of_split, side="right")) - 1
        after_all = (int(times.values[-1]) + 1 if total else 0) << times.shift
        cuts.append(int(times.values[index]) << times.shift if first_of_split < total else after_all)
        before.append(int(upto[index]) if first_of_split < total else total)
    counts = {"train": before[0], "eval": before[1] - before[0], "test": total - before[1]}
    return (cuts[0], cuts[1]), counts


def first_time(split: Split, times: TimeCounts) -> tuple[int, int]:
    """Returns the time from which impressions become examples, and how many lie before it (`split.skip`).

    Equal times stay together, among the examples.
    """
    upto = np.concatenate(([0], np.cumsum(times.counts)))
    skipped = round(int(upto[-1]) * split.skip)
    if skipped == 0:
        return np.iinfo(np.int64).min, 0
    index = int(np.searchsorted(upto, skipped, side="right")) - 1
    return int(times.values[index]) << times.shift, int(upto[index])


def split_of(times: np.ndarray, cuts: tuple[int, int]) -> np.ndarray:
    """Returns per impression the index of its split in `SPLITS`."""
    return (times >= cuts[0]).astype(np.int8) + (times >= cuts[1])
