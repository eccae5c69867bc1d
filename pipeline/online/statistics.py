"""The statistics of a request: the keys that its candidates have, and what these have summed up to."""

from collections.abc import Sequence
from dataclasses import dataclass

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
from pipeline.online.cache import Items
from schema.spec import RankingSpec
from schema.statistics import ITEM, USER


@dataclass(frozen=True)
class RequestKeys:
    """The keys of a statistic that a request's candidates have.

    Attributes:
      texts: distinct ones, without the user.
      code: int64 [candidates], each one's place among `texts`, -1 where a part is missing; of a statistic that the
        candidates have alike int64 [1].
    """

    texts: list[str]
    code: np.ndarray


class KeyReader:
    """Reads the keys of one request: one user at one moment, and any number of items."""

    def __init__(self, spec: RankingSpec, asking: pa.Table, users: Lookup, items: Items):
        """Takes the row of an impression of the request (`ingest.rank_request.impressions`), and both tables."""
        self._of_items = {ITEM, *(feature.name for feature in spec.features_of("items"))}
        self._columns = KeyColumns(spec, asking, lambda _: users, lambda _: items.lookup())
        self._items = items
        self._by_name: dict[str, Sequence[str | None]] = {}
        self._constants: dict[str, str | None] = {}

    def of(self, definition: Definition) -> RequestKeys:
        """Returns the keys by a statistic's names, in the order of `KeyColumns.of`, without the user's text."""
        names = [name for name in definition.statistic.keys if name != USER]
        if self._of_items.isdisjoint(names):
            return _distinct([_joined([self._constant(name) for name in names])])
        if len(names) == 1:
            return _distinct(self._column(names[0]))
        columns = [
            self._column(name) if name in self._of_items else [self._constant(name)] * len(self._items.ids)
            for name in names
        ]
        return _distinct([_joined(texts) for texts in zip(*columns, strict=True)])

    def _column(self, name: str) -> Sequence[str | None]:
        if name not in self._by_name:
            self._by_name[name] = self._items.ids if name == ITEM else self._items.texts(name)
        return self._by_name[name]

    def _constant(self, name: str) -> str | None:
        """Returns the text of what all candidates have alike; None where it is missing."""
        if name not in self._constants:
            keys = self._columns.of([name])
            (code,) = keys.code.tolist()
            self._constants[name] = None if code < 0 else keys.texts[code].as_py()
        return self._constants[name]


def _joined(texts: Sequence[str | None]) -> str | None:
    present = [text for text in texts if text is not None]
    return SEPARATOR.join(present) if len(present) == len(texts) else None


def _distinct(texts: Sequence[str | None]) -> RequestKeys:
    places: dict[str, int] = {}
    code = [-1 if text is None else places.setdefault(text, len(places)) for text in texts]
    return RequestKeys(list(places), np.array(code, np.int64))


class UserStatistics:
    """Answers the statistics by user from the user's state and the rows since."""

    def __init__(self, spec: RankingSpec, rows: pa.Table, users: Lookup, items: Lookup):
        """Takes the rows since as `ingest.rows.parse` gives them; `items` has all that these are of."""
        self._rows = rows
        if rows.num_rows:
            self._keys = KeyColumns(spec, rows, lambda _: users, lambda _: items)
            self._sums, self._time = RowSums(spec, rows), rows["time"].to_numpy()

    def answers(
        self, definition: Definition, state: pa.Table | None, keys: RequestKeys, edge: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns float32 [keys, width] the sums before an edge, and int64 [keys, sums] the latest times.

        Args:
          state: the user's state, whose `key` lacks the user's text; None is none.
        """
        places = {text: place for place, text in enumerate(keys.texts)}
        tiles: list[Tiles] = []
        if state is not None:
            tiles.append(tiles_of_table(state, _codes(state["key"].to_pylist(), places), _windows(definition)))
        if self._rows.num_rows:
            tiles.append(self._tiles(definition, places))
        return answers_at(definition, tiles, len(keys.texts), edge)

    def _tiles(self, definition: Definition, places: dict[str, int]) -> Tiles:
        of_rows = self._keys.of(definition.statistic.keys)
        # The user's text goes first.
        rest = _codes([text.partition(SEPARATOR)[2] for text in of_rows.texts.to_pylist()], places)
        code = np.append(rest, -1)[of_rows.code]
        return definition.tiles(code, self._time, self._sums.of(definition.sums))


def answers_at(
    definition: Definition, tiles: Sequence[Tiles], keys: int, edge: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns what the first `keys` keys' tiles before an edge (a tile) sum up to; see `UserStatistics.answers`."""
    if not tiles:
        tiles = [definition.tiles(*(np.zeros(0, np.int64),) * 2, np.zeros((0, len(definition.sums)), np.int64))]
    answers = Fold(merged(tiles), definition.spans).at(np.arange(keys), np.full(keys, edge))
    return as_float32(answers, scales(definition.sums)), answers.latest


def vectors(
    definition: Definition, sums: np.ndarray, latest: np.ndarray | None, code: np.ndarray, asked: int
) -> np.ndarray:
    """Returns float32 [code, slots], the vectors of a request that began at `asked`, in ticks."""
    times = np.full(len(code), asked)
    return Vectors(sums, latest, code, times, definition.ticks_per_second).take(np.arange(len(code)))


def _codes(texts: Sequence[str], places: dict[str, int]) -> np.ndarray:
    """Returns the place of each text, which is added where there is none."""
    return np.fromiter((places.setdefault(text, len(places)) for text in texts), np.int64, len(texts))


def _windows(definition: Definition) -> bool:
    return bool(definition.statistic.windows)


def answer_widths(definition: Definition) -> tuple[int, int | None]:
    """Returns how many sums an answer has, and how many latest times; None without ages."""
    sums = len(definition.sums)
    return len(definition.statistic.spans) * sums, sums if definition.statistic.age else None
