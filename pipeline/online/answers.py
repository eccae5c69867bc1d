"""What a reader of a generation keeps in its process of statistics' keys: their states, and what these sum up to."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.online.generations import Updates
from pipeline.online.growing import Rows, room


@dataclass(frozen=True)
class KeyCodes:
    """Keys by numbers.

    Attributes:
      code: int64 [candidates], -1 where a part of the key is missing.
      texts: the key of each number.
      epoch: within which the numbers stay what they are; None is this request.
    """

    code: np.ndarray
    texts: Sequence[str]
    epoch: int | None = None


class KeyCache:
    """The contents of statistics' keys, which never change within a generation; empty where there is none."""

    def __init__(self, most: int):
        self._most, self._taken = most, 0
        self._contents: dict[tuple[str, str], bytes] = {}

    def add(self, statistic: str, contents: Mapping[str, bytes]) -> None:
        """Adds what a store holds of keys."""
        size = room(contents)
        if self._taken + size > self._most:
            self._contents, self._taken = {}, 0
        self._taken += size
        self._contents.update({(statistic, key): content for key, content in contents.items()})

    def of(self, statistic: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Returns the contents of those keys that are known."""
        pairs = ((key, self._contents.get((statistic, key))) for key in keys)
        return {key: content for key, content in pairs if content is not None}


class EdgeAnswers:
    """What a statistic's keys have summed up to at one edge; of use to many threads at once.

    Attributes:
      sums: float32 [answers, width].
      latest: int64 [answers, ages]; None without ages.
    """

    def __init__(self, width: int, ages: int | None, epoch: int | None):
        """Takes how many sums an answer has, how many latest times, and the epoch of its keys' numbers."""
        self.epoch = epoch
        self._lock = threading.Lock()
        self._by_text: dict[str, int] = {}
        # What long keys take beyond a place each.
        self._long = 0
        # By the key's number, in an epoch; -1 is a key that isn't answered yet.
        self._by_code = np.full(16, -1)
        self._sums = Rows(np.float32, (width,))
        self._latest = None if ages is None else Rows(np.int64, (ages,))

    def __len__(self) -> int:
        """Returns how many entries it takes the place of."""
        return len(self._sums) + self._long

    @property
    def sums(self) -> np.ndarray:
        return self._sums.array

    @property
    def latest(self) -> np.ndarray | None:
        return None if self._latest is None else self._latest.array

    def places(self, keys: KeyCodes) -> np.ndarray:
        """Returns int64 [candidates], the answer of each key, -1 where the key is missing or isn't answered yet."""
        if keys.epoch is None:
            by_code = np.fromiter((self._by_text.get(text, -1) for text in keys.texts), np.int64, len(keys.texts))
        else:
            by_code = self._by_code
            if len(keys.code) and int(keys.code.max()) >= len(by_code):
                with self._lock:
                    by_code = self._grown(int(keys.code.max()))
        return np.where(keys.code < 0, -1, np.append(by_code, -1)[keys.code]) if len(keys.code) else keys.code

    def _grown(self, code: int) -> np.ndarray:
        if code >= len(self._by_code):
            grown = np.full(max(2 * len(self._by_code), code + 1), -1)
            grown[: len(self._by_code)] = self._by_code
            self._by_code = grown
        return self._by_code

    def add(self, keys: KeyCodes, codes: np.ndarray, sums: np.ndarray, latest: np.ndarray | None) -> None:
        """Adds the answers of the keys of distinct numbers, float32 [codes, width] and int64 [codes, ages]."""
        with self._lock:
            start = len(self._sums)
            self._sums.append(sums)
            if self._latest is not None:
                assert latest is not None
                self._latest.append(latest)
            places = start + np.arange(len(codes))
            if keys.epoch is None:
                texts = [keys.texts[code] for code in codes.tolist()]
                self._long += room(texts) - len(texts)
                self._by_text.update(zip(texts, places.tolist(), strict=True))
            elif len(codes):
                self._grown(int(codes.max()))[codes] = places


class AnswerCache:
    """A statistic's answers at the edge that was asked for last, as long as no event has changed them."""

    def __init__(self, width: int, ages: int | None, most: int):
        self._shape, self._most = (width, ages), most
        self._current: tuple[int, int, EdgeAnswers] | None = None

    def at(self, edge: int, ticks: int, updates: Updates, epoch: int | None) -> EdgeAnswers:
        """Returns the answers at an edge, which lies at `ticks`, after these updates; they may be added to.

        Args:
          epoch: of the numbers of the keys that are asked for.
        """
        # Another thread may ask at another edge meanwhile.
        current = self._current
        if current is not None:
            last_edge, batches, answers = current
            is_valid = last_edge == edge and answers.epoch == epoch and len(answers) <= self._most
            if is_valid and updates.are_since(batches, ticks):
                if updates.batches > batches:
                    self._current = edge, updates.batches, answers
                return answers
        answers = EdgeAnswers(*self._shape, epoch)
        self._current = edge, updates.batches, answers
        return answers
