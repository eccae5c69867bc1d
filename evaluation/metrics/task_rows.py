"""What metrics are computed from: the rows of one task with one model's scores, by slice, user and list."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evaluation.metrics.ranking import GroupRanking, Runs, rank_weighted_groups, score_bits, tie_runs


@dataclass(frozen=True)
class TaskRows:
    """The rows of a task's sample space, and what several metrics take from them, computed once.

    Attributes:
      labels, scores: float32 `(rows,)`.
      group: which (slice, user) a row belongs to, `(rows,)`.
      slice_of_group: rising from 0, `(groups,)`; a group may have no rows in the sample space.
      slices: how many there are.
      list_of_row: which (slice, user, list) a row belongs to, `(rows,)`; a list is what was ranked at once.
      group_of_list: `(lists,)`; a list may have no rows in the sample space either.
      weights: what each row counts for, above 0, float32 `(rows,)`; None where all count for 1.
    """

    labels: np.ndarray
    scores: np.ndarray
    group: np.ndarray
    slice_of_group: np.ndarray
    slices: int
    list_of_row: np.ndarray
    group_of_list: np.ndarray
    weights: np.ndarray | None = None

    @property
    def groups(self) -> int:
        return len(self.slice_of_group)

    @cached_property
    def slice(self) -> np.ndarray:
        """Returns the slice of each row, `(rows,)`."""
        return self.slice_of_group[self.group]

    @cached_property
    def is_positive(self) -> np.ndarray:
        """Returns whether each row's binary label is positive, bool `(rows,)`."""
        return self.labels > 0.5

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Returns the scores as float64 `(rows,)`."""
        return self.scores.astype(np.float64)

    @cached_property
    def counts(self) -> np.ndarray:
        """Returns the number of each group's rows, `(groups,)`."""
        return np.bincount(self.group, minlength=self.groups)

    @cached_property
    def positive_counts(self) -> np.ndarray:
        """Returns the number of each group's positives, float64 `(groups,)`."""
        return np.bincount(self.group, self.is_positive, self.groups)

    @cached_property
    def examples(self) -> np.ndarray:
        """Returns what each group's rows count for: their number, or the sum of their weights; `(groups,)`."""
        return self.counts if self.weights is None else np.bincount(self.group, self.weights, self.groups)

    @cached_property
    def ranking(self) -> GroupRanking:
        """Returns how well the scores rank the positives of each list, `(lists,)`."""
        bits = score_bits(self.scores)
        return rank_weighted_groups(self.list_of_row, bits, self.is_positive, self.weights, len(self.group_of_list))

    @cached_property
    def positives(self) -> np.ndarray:
        """Returns what each group's positives count for, float64 `(groups,)`."""
        return self.sum_by_group(self.is_positive)

    def runs_by_slice(self) -> Runs:
        """Returns the runs of equal scores of each slice."""
        return tie_runs(self.slice, score_bits(self.scores), self.is_positive, self.weights)

    def weighted(self, values: np.ndarray) -> np.ndarray:
        """Returns the `values`, `(rows,)`, times what the rows count for."""
        return values if self.weights is None else values * self.weights.astype(np.float64)

    def sum_by_group(self, values: np.ndarray) -> np.ndarray:
        """Returns the weighted sums of `values`, `(rows,)`, by group: `(groups,)`."""
        return np.bincount(self.group, self.weighted(values), self.groups)

    def sum_of_lists(self, values: np.ndarray) -> np.ndarray:
        """Returns the sums of `values`, `(lists,)`, over each group's lists: `(groups,)`."""
        return np.bincount(self.group_of_list, values, self.groups)

    def by_slice(self, values: np.ndarray) -> np.ndarray:
        """Returns the sums of `values`, `(columns, groups)`, by slice: `(slices, columns)`."""
        first_groups = np.searchsorted(self.slice_of_group, np.arange(self.slices))
        return np.add.reduceat(values, first_groups, axis=1).T
