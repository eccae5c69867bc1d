"""Arrays that grow, and how much room there is in caches of what has no end."""

from collections.abc import Iterable
from typing import Any

import numpy as np


class Rows:
    """Rows of numbers or objects that grow in place: an array that was handed out stays as it is."""

    def __init__(self, dtype: Any, shape: tuple[int, ...] = ()):
        self._size = 0
        self._array = np.empty((16, *shape), dtype)

    def __len__(self) -> int:
        return self._size

    @property
    def array(self) -> np.ndarray:
        """Returns all rows; the array may be longer."""
        return self._array

    def append(self, values: np.ndarray) -> None:
        """Adds rows."""
        size = self._size + len(values)
        if size > len(self._array):
            grown = np.empty((max(size, 2 * len(self._array)), *self._array.shape[1:]), self._array.dtype)
            grown[: self._size] = self._array[: self._size]
            self._array = grown
        self._array[self._size : size] = values
        self._size = size


def room(texts: Iterable[str]) -> int:
    """Returns how many entries of a cache texts take the place of: a long one, of up to 64 KiB, that of several."""
    return sum(1 + len(text) // 256 for text in texts)
