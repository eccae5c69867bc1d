"""The statistics of a request: the keys that its candidates have, and what these have summed up to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from ingest.examples import Lookup
from ingest.statistics.answers import Definition, RowSums
from ingest.statistics.encoding import tiles_of_table
from ingest.statistics.fold import Fold
from ingest.statistics.keys import SEPARATOR, KeyColumns
from ingest.statistics.sums import scales
from ingest.statistics.tiles import Tiles, merged
from ingest.statistics.vectors import Vectors, as_float32
from pipeline.online.answers import KeyCodes
from pipeline.online.cache import Items
from schema.spec import RankingSpec
from schema.statistics import ITEM, USER


class KeyReader:
    """Reads the keys of one request: one user at one moment, and any number of items."""

    def __init__(self, spec: RankingSpec, asking: pa.Table, users: Lookup, items: Items):
        """Takes the row of an impression of the request (`ingest.rank_request.impressions`), and both tables."""
        self._of_items = {ITEM, *(feature.name for feature in spec.features_of("items"))}
        self._columns = KeyColumns(spec, asking, lambda _: users, lambda _: items.lookup())
        self._items = items
        self._by_name: dict[str, KeyCodes] = {}

    def of(self, definition: Definition) -> KeyCodes:
        """Returns the keys by a statistic's names, in the order of `KeyColumns.of`, without the user's text.

        Those that all candidates have alike are one.
        """
        names = [name for name in definition.statistic.keys if name != USER]
        if self._of_items.isdisjoint(names):
            return _distinct([_joined([self._constant(name) for name in names])])
        if len(names) == 1:
            return self._column(names[0])
        columns = [
            _texts(self._column(name)) if name in self._of_items else [self._constant(name)] * len(self._items)
            for name in names
        ]
        return _distinct([_joined(texts) for texts in zip(*columns, strict=True)])

    def _column(self, name: str) -> KeyCodes:
        if name not in self._by_name:
            self._by_name[name] = self._items.id_keys() if name == ITEM else self._items.keys(name)
        return self._by_name[name]

    def _constant(self, name: str) -> str | None:
        """Returns the text of what all candidates have alike; None where it is missing."""
        keys = self._columns.of([name])
        (code,) = keys.code.tolist()
        return None if code < 0 else keys.texts[code].as_py()


def _texts(keys: KeyCodes) -> list[str | None]:
    return [None if code < 0 else keys.texts[code] for code in keys.code.tolist()]


def _joined(texts: Sequence[str | None]) -> str | None:
    present = [text for text in texts if text is not None]
    return SEPARATOR.join(present) if len(present) == len(texts) else None


def _distinct(texts: Sequence[str | None]) -> KeyCodes:
    places: dict[str, int] = {}
    code = [-1 if text is None else places.setdefault(text, len(places)) for text in texts]
    return KeyCodes(np.array(code, np.int64), list(places))


@dataclass(frozen=True)
class UserState:
    """A user's state of a statistic.

    Attributes:
      places: the number of each key, which lacks the user's text.
      tiles, fold: the state, by these numbers.
    """

    places: dict[str, int]
    tiles: Tiles
    fold: Fold

    @classmethod
    def of(cls, definition: Definition, state: pa.Table | None) -> Self:
        """Returns the state in a user's base; None is none."""
        places: dict[str, int] = {}
        tiles = definition.tiles(*(np.zeros(0, np.int64),) * 2, np.zeros((0, len(definition.sums)), np.int64))
        if state is not None and state.num_rows:
            code = _codes(state["key"].to_pylist(), places)
            tiles = merged([tiles_of_table(state, code, bool(definition.statistic.windows))])
        return cls(places, tiles, Fold(tiles, definition.spans))


class UserStatistics:
    """Answers the statistics by user from the user's state and the rows since."""

    def __init__(self, spec: RankingSpec, rows: pa.Table, users: Lookup, items: Lookup):
        """Takes the rows since as `ingest.rows.parse` gives them; `items` has all that these are of."""
        self._rows = rows
        if rows.num_rows:
            self._keys = KeyColumns(spec, rows, lambda _: users, lambda _: items)
            self._sums, self._time = RowSums(spec, rows), rows["time"].to_numpy()

    def vectors(self, definition: Definition, state: UserState, keys: KeyCodes, request_time: int) -> np.ndarray:
        """Returns float32 [candidates, slots] the vectors of a request that began at `request_time`, in ticks."""
        fold, places = state.fold, state.places
        if self._rows.num_rows:
            places = dict(places)
            since = self._tiles(definition, places)
            fold = Fold(merged([state.tiles, since]), definition.spans)
        used, code = np.unique(keys.code[keys.code >= 0], return_inverse=True)
        key_code = np.array([places.get(keys.texts[number], len(places)) for number in used.tolist()], np.int64)
        sums, latest = answers_at(definition, fold, key_code, edge_of(definition, request_time))
        answer = np.full(len(keys.code), -1)
        answer[keys.code >= 0] = code
        return vectors(definition, sums, latest, answer, request_time)

    def _tiles(self, definition: Definition, places: dict[str, int]) -> Tiles:
        of_rows = self._keys.of(definition.statistic.keys)
        # The user's text goes first.
        rest = _codes([text.partition(SEPARATOR)[2] for text in of_rows.texts.to_pylist()], places)
        code = np.append(rest, -1)[of_rows.code]
        return definition.tiles(code, self._time, self._sums.of(definition.sums))


def answers_at(definition: Definition, fold: Fold, keys: np.ndarray, edge: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns what keys' tiles before an edge sum up to, float32 [keys, width], and int64 [keys, sums] latest times."""
    answers = fold.at(keys, np.full(len(keys), edge))
    return as_float32(answers, scales(definition.sums)), answers.latest


def edge_of(definition: Definition, request_time: int) -> int:
    """Returns the tile before which rows count for a request that began at `request_time`, in ticks."""
    return int(definition.edge(np.array([request_time]))[0])


def vectors(
    definition: Definition, sums: np.ndarray, latest: np.ndarray | None, code: np.ndarray, request_time: int
) -> np.ndarray:
    """Returns float32 [code, slots], the vectors of a request that began at `request_time`, in ticks."""
    times = np.full(len(code), request_time)
    return Vectors(sums, latest, code, times, definition.ticks_per_second).take(np.arange(len(code)))


def _codes(texts: Sequence[str], places: dict[str, int]) -> np.ndarray:
    """Returns the place of each text, which is added where there is none."""
    return np.fromiter((places.setdefault(text, len(places)) for text in texts), np.int64, len(texts))


def answer_widths(definition: Definition) -> tuple[int, int | None]:
    """Returns how many sums an answer has, and how many latest times; None without ages."""
    sums = len(definition.sums)
    return len(definition.statistic.spans) * sums, sums if definition.statistic.age else None
