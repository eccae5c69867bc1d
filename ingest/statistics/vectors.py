"""Answers as the vectors of examples: float32, a row each."""

from dataclasses import dataclass

import numpy as np

from ingest.statistics.fold import Answers
from ingest.statistics.tiles import NEVER


@dataclass(frozen=True)
class Vectors:
    """A statistic's vectors, asked for by row; rows with a missing key have NaN.

    Attributes:
      sums: float32 [answers, spans times sums].
      latest: int64 [answers, sums], or None without ages.
      answer: int64 [rows], the answer of each row, -1 where the key is missing.
      time: int64 [rows], the time of each row's request, in ticks.
    """

    sums: np.ndarray
    latest: np.ndarray | None
    answer: np.ndarray
    time: np.ndarray
    ticks_per_second: int

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 [len(rows), slots]."""
        answer = self.answer[rows]
        width = self.sums.shape[1] + (0 if self.latest is None else self.latest.shape[1])
        result = np.full((len(rows), width), np.nan, np.float32)
        valid = np.flatnonzero(answer >= 0)
        answer = answer[valid]
        result[valid, : self.sums.shape[1]] = self.sums[answer]
        if self.latest is not None:
            latest = self.latest[answer]
            age = (self.time[rows[valid], None] - np.where(latest == NEVER, 0, latest)) / self.ticks_per_second
            result[valid, self.sums.shape[1] :] = np.where(latest == NEVER, -1, age)
        return result


def as_float32(answers: Answers, scales: np.ndarray) -> np.ndarray:
    """Returns float32 [asks, spans times sums]: the sums in units of their values; `scales` is float64 [sums]."""
    asks, spans, sums = answers.sums.shape
    return (answers.sums * scales).astype(np.float32).reshape(asks, spans * sums)
