"""Scored examples as columns: what an evaluation needs of them and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.result import SliceKey


@dataclass(frozen=True)
class Texts:
    """A column of texts, by code: row i has the `lengths[i]` next codes; exactly one where `lengths` is None."""

    codes: np.ndarray
    values: tuple[str, ...]
    lengths: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "Texts":
        """Returns the rows of these indices."""
        if self.lengths is None:
            return replace(self, codes=self.codes[rows])
        starts = np.concatenate(([0], np.cumsum(self.lengths)))[rows]
        lengths = self.lengths[rows]
        return replace(self, codes=self.codes[_ranges(starts, lengths)], lengths=lengths)


# Where decades of impressions begin.
_POWERS = 10 ** np.arange(19, dtype=np.int64)
_NO_KEY = "missing"


def decades(impressions: np.ndarray) -> Texts:
    """Returns the decade of each count, `(rows,)`: `0` (below 1), `1-9`, `10-99`, …; `missing` where it is NaN.

    The texts sort as the counts do.
    """
    is_missing = np.isnan(impressions)
    digits = np.searchsorted(_POWERS, np.where(is_missing, 0, impressions), side="right")
    values, codes = np.unique(np.where(is_missing, -1, digits), return_inverse=True)
    return Texts(codes.astype(np.int32), tuple(map(_decade, values.tolist())))


def _decade(digits: int) -> str:
    if digits <= 0:
        return "0" if digits == 0 else _NO_KEY
    return f"{_POWERS[digits - 1]}-{10**digits - 1}"


@dataclass(frozen=True)
class ScoredRows:
    """Examples with every model's scores.

    Attributes:
      users: hashes of the user ids, uint64 `(rows,)`.
      lists: what tells a user's lists apart, their request or day, int64 `(rows,)`.
      labels: float32 `(tasks, rows)`.
      in_space: whether the row is in the task's sample space, bool `(tasks, rows)`.
      scores: float32 `(models, tasks, rows)`; NaN where a model doesn't have the task.
      slices: the columns that slices are made of.
      weights: what a row counts for in the task, float32 `(tasks, rows)`; None where all count alike.
    """

    users: np.ndarray
    lists: np.ndarray
    labels: np.ndarray
    in_space: np.ndarray
    scores: np.ndarray
    slices: Mapping[str, Texts]
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: np.ndarray) -> "ScoredRows":
        """Returns the rows of these indices."""
        return ScoredRows(
            self.users[rows],
            self.lists[rows],
            self.labels[:, rows],
            self.in_space[:, rows],
            self.scores[:, :, rows],
            {name: column.take(rows) for name, column in self.slices.items()},
            None if self.weights is None else self.weights[:, rows],
        )


def concatenated(parts: Sequence[ScoredRows]) -> ScoredRows:
    """Returns the rows of all parts, one part after the other."""
    weights = [part.weights for part in parts if part.weights is not None]
    return ScoredRows(
        np.concatenate([part.users for part in parts]),
        np.concatenate([part.lists for part in parts]),
        np.concatenate([part.labels for part in parts], axis=-1),
        np.concatenate([part.in_space for part in parts], axis=-1),
        np.concatenate([part.scores for part in parts], axis=-1),
        {name: _concatenated_texts([part.slices[name] for part in parts]) for name in parts[0].slices},
        np.concatenate(weights, axis=-1) if weights else None,
    )


def _concatenated_texts(parts: Sequence[Texts]) -> Texts:
    code_of: dict[str, int] = {}
    codes = []
    for part in parts:
        new_codes = np.array([code_of.setdefault(value, len(code_of)) for value in part.values], np.int32)
        codes.append(new_codes[part.codes] if len(part.codes) else part.codes)
    lengths = [part.lengths for part in parts if part.lengths is not None]
    return Texts(np.concatenate(codes), tuple(code_of), np.concatenate(lengths) if lengths else None)


@dataclass(frozen=True)
class SliceView:
    """The rows of every slice that some features make, grouped by slice and user.

    Attributes:
      keys: the slices, `(slices,)`.
      rows: indices of rows, by slice, then by user; a row with several values is there several times.
      group: of each of `rows`, which (slice, user) it belongs to, rising from 0.
      slice_of_group: `(groups,)`, rising from 0.
      list_of_row: of each of `rows`, which (slice, user, list) it belongs to; they are numbered in that order.
      group_of_list: `(lists,)`, rising from 0.
    """

    keys: list[SliceKey]
    rows: np.ndarray
    group: np.ndarray
    slice_of_group: np.ndarray
    list_of_row: np.ndarray
    group_of_list: np.ndarray

    @property
    def groups(self) -> int:
        return len(self.slice_of_group)


def slice_views(rows: ScoredRows, slices: Sequence[tuple[str, ...]]) -> Iterator[SliceView]:
    """Yields the whole as one slice, then the slices of each of `slices`; none where there are no rows."""
    users = _Users.of(rows)
    for features in ((), *slices):
        view = _view(rows, features, users)
        if view.keys:
            yield view


@dataclass(frozen=True)
class _Users:
    """The users and their lists by number: of each row its user and list, of each list, by user, its user."""

    user: np.ndarray
    list_of_row: np.ndarray
    user_of_list: np.ndarray

    @classmethod
    def of(cls, rows: ScoredRows) -> "_Users":
        _, user = np.unique(rows.users, return_inverse=True)
        values, list_index = np.unique(rows.lists, return_inverse=True)
        lists, number = np.unique(user.astype(np.int64) * len(values) + list_index, return_inverse=True)
        return cls(user, number, lists // max(len(values), 1))


def _view(rows: ScoredRows, features: tuple[str, ...], users: _Users) -> SliceView:
    selected = np.arange(len(rows))
    codes = np.zeros((0, len(rows)), np.int64)
    for name in features:
        column = rows.slices[name]
        if column.lengths is None:
            column_codes = column.codes[selected]
        else:
            starts = np.concatenate(([0], np.cumsum(column.lengths)))[selected]
            lengths = column.lengths[selected]
            column_codes = column.codes[_ranges(starts, lengths)]
            selected, codes = np.repeat(selected, lengths), np.repeat(codes, lengths, axis=1)
        codes = np.vstack([codes, column_codes[None]])
    combined = np.zeros(len(selected), np.int64)
    for name, column_codes in zip(features, codes, strict=True):
        combined = combined * max(len(rows.slices[name].values), 1) + column_codes
    present, first, number = np.unique(combined, return_index=True, return_inverse=True)
    if any(rows.slices[name].lengths is not None for name in features):
        # A value that a row has twice makes it a member once.
        _, first_of_row = np.unique(number * np.int64(len(rows)) + selected, return_index=True)
        selected, number = selected[first_of_row], number[first_of_row]
    keys: list[SliceKey] = [
        tuple((name, rows.slices[name].values[code]) for name, code in zip(features, codes[:, i].tolist(), strict=True))
        for i in first
    ]
    user_count, list_count = int(users.user.max(initial=0)) + 1, max(len(users.user_of_list), 1)
    member = number.astype(np.int64) * user_count + users.user[selected]
    order = np.argsort(member, kind="stable")
    groups, group = np.unique(member[order], return_inverse=True)
    selected, number = selected[order], number[order].astype(np.int64)
    lists, list_of_row = np.unique(number * list_count + users.list_of_row[selected], return_inverse=True)
    group_of_list = np.searchsorted(groups, lists // list_count * user_count + users.user_of_list[lists % list_count])
    return SliceView(keys[: len(present)], selected, group, groups // user_count, list_of_row, group_of_list)


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns `start, start + 1, …` of each length, one after the other."""
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(int(lengths.sum()))
