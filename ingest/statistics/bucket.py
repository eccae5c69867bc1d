"""The statistics of one bucket of users: its tiles, what its impressions ask, and the vectors of its rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ingest.chunk_files import data_of, table_of
from ingest.chunks import Chunk
from ingest.errors import LostRowsError
from ingest.examples import Lookup
from ingest.statistics.answers import Asks, Definition, RowSums, asks_of, definitions, shared
from ingest.statistics.encoding import common_codes, matrix, tiles_of_table
from ingest.statistics.fold import Answers, Fold
from ingest.statistics.keys import KeyColumns, Keys
from ingest.statistics.requests import request_times, with_start
from ingest.statistics.state import as_parquet, horizon_of, next_state
from ingest.statistics.sums import scales
from ingest.statistics.tiles import Tiles, merged
from ingest.statistics.vectors import Vectors, as_float32
from ingest.windows.carried import prepend_carried
from ingest.windows.rolling import DAY, Rolling
from ingest.windows.window import day_number, earliest
from schema.spec import RankingSpec


@dataclass(frozen=True)
class BucketRows:
    """The rows of a bucket's users.

    Attributes:
      log: those of the logs that were read; None without any.
      rows: what timelines are made of: rows that were carried on, and after them those of `log` since then.
      since: int64, the places in `log` of these.
    """

    log: pa.Table | None
    rows: pa.Table | None
    since: np.ndarray

    @classmethod
    def of(cls, spec: RankingSpec, log: pa.Table | None, history: pa.Table | None, rolling: Rolling | None):
        """Returns the rows; statistics may have read earlier days than what was carried on begins with."""
        if log is None:
            return cls(None, history, np.zeros(0, np.int64))
        log = with_start(spec, log)
        since = np.arange(log.num_rows)
        recent = log
        if rolling and rolling.statistics and rolling.earlier:
            since = np.flatnonzero(log[DAY].to_numpy() >= day_number(rolling.earlier.day))
            recent = log if len(since) == log.num_rows else log.take(pa.array(since))
        if recent.num_rows == 0 and history is not None:
            return cls(log, history, since)
        return cls(log, prepend_carried(recent, history), since)

    def of_rows(self, values: np.ndarray, absent: int) -> np.ndarray:
        """Returns for `rows` what `values` says of `log`, and `absent` where a row was carried on."""
        carried = self.rows.num_rows - len(self.since) if self.rows is not None else 0
        return np.concatenate((np.full(carried, absent, values.dtype), values[self.since]))


class BucketStatistics:
    """Answers what can be answered within a bucket, and prepares the rest."""

    def __init__(
        self,
        spec: RankingSpec,
        bucket: BucketRows,
        users: Callable[[int], Lookup],
        items: Callable[[int], Lookup],
        rolling: Rolling | None,
    ):
        assert bucket.log is not None
        self._spec, self._bucket, self._rolling = spec, bucket, rolling
        self._time = bucket.log["time"].to_numpy()
        self._keys, self._sums = KeyColumns(spec, bucket.log, users, items), RowSums(spec, bucket.log)
        self._day = bucket.log[DAY].to_numpy() if rolling else np.zeros(len(self._time), np.int32)
        self.asked = self._time.copy()
        if bucket.rows is not None and len(bucket.since):
            request_time = request_times(spec, bucket.rows)
            self.asked[bucket.since] = request_time[len(request_time) - len(bucket.since) :]
        asking = np.ones(len(self._time), bool)
        if spec.log.layout == "events":
            asking = bucket.log["event"].to_numpy() == 0
        self._asking = asking & rolling.examples(self._day) if rolling else asking

    def keys(self, definition: Definition) -> Keys:
        return self._keys.of(definition.statistic.keys)

    def tiles(self, number: int, definition: Definition) -> tuple[Tiles | None, Tiles]:
        """Returns the tiles of days before the next snapshot's (None without a rolling window), and of later ones."""
        code, sums = self.keys(definition).code, self._sums.of(definition.sums)
        if not self._rolling:
            return None, definition.tiles(code, self._time, sums)
        state = self._rolling.statistics[number]
        new = np.ones(len(code), bool) if state.earlier is None else self._day >= day_number(state.earlier.day)
        early = self._day < day_number(state.snapshot.day)
        first, later = (
            definition.tiles(code[rows], self._time[rows], sums[rows]) for rows in (new & early, new & ~early)
        )
        return first, later

    def asks(self, definition: Definition) -> Asks:
        return asks_of(self.keys(definition).code, definition.edge(self.asked), self._asking)

    def vectors(self, definition: Definition, answers: Answers, ask: np.ndarray) -> Vectors:
        """Returns the vectors of `rows`; `ask` is the place among the answers of each row of `log`, or -1."""
        return self.from_float32(definition, as_float32(answers, scales(definition.sums)), answers.latest, ask)

    def from_float32(
        self, definition: Definition, sums: np.ndarray, latest: np.ndarray | None, ask: np.ndarray
    ) -> Vectors:
        """Returns the vectors of `rows` from answers that came from elsewhere."""
        answer, request_time = self._bucket.of_rows(ask, -1), self._bucket.of_rows(self.asked, 0)
        return Vectors(sums, latest, answer, request_time, definition.ticks_per_second)


def answered(
    spec: RankingSpec,
    number: int,
    definition: Definition,
    here: BucketStatistics | None,
    carried: pa.Table | None,
    rolling: Rolling | None,
) -> tuple[Vectors | None, bytes | None]:
    """Answers a statistic by user: its bucket holds all rows of its keys.

    Args:
      here: None where none of the bucket's users has rows.
      carried: the statistic's state of these users.

    Returns:
      The vectors, and the part of the next state; None where there is nothing.
    """
    known_tiles = KnownTiles.of(number, definition, here, carried)
    part = state_part(spec, number, definition, known_tiles.early, known_tiles.texts, rolling)
    if here is None:
        return None, part
    asks = here.asks(definition)
    answers = Fold(merged([*known_tiles.early, *known_tiles.late]), definition.spans).at(
        known_tiles.codes[asks.key], asks.edge
    )
    return here.vectors(definition, answers, asks.place), part


@dataclass(frozen=True)
class KnownTiles:
    """The tiles of a statistic whose keys are of a bucket's users alone.

    Attributes:
      texts: the keys.
      codes: int64, the place among `texts` of each key of the bucket's rows.
      early: tiles of what was carried on and of the days before the next snapshot's.
      late: tiles of later days.
    """

    texts: pa.Array
    codes: np.ndarray
    early: list[Tiles]
    late: list[Tiles]

    @classmethod
    def of(cls, number: int, definition: Definition, here: BucketStatistics | None, carried: pa.Table | None):
        """Returns the tiles of the bucket's rows, `here`, and of its users' `carried` state; None is none of these."""
        columns = ([carried["key"]] if carried is not None else []) + ([here.keys(definition).texts] if here else [])
        texts, codes = common_codes(columns)
        early: list[Tiles] = []
        if carried is not None:
            early.append(tiles_of_table(carried, codes[0], bool(definition.statistic.windows)))
        if here is None:
            return cls(texts, np.zeros(0, np.int64), early, [])
        new, late = (tiles and _renumbered(tiles, codes[-1]) for tiles in here.tiles(number, definition))
        early += [new] if new is not None else []
        return cls(texts, codes[-1], early, [late] if late is not None else [])


def _renumbered(tiles: Tiles, code: np.ndarray) -> Tiles:
    return Tiles(code[tiles.key], tiles.tile, tiles.total, tiles.window, tiles.latest, tiles.base, tiles.decayed)


def state_part(
    spec: RankingSpec,
    number: int,
    definition: Definition,
    parts: Iterable[Tiles],
    texts: pa.Array,
    rolling: Rolling | None,
) -> bytes | None:
    """Returns the state that the next window starts from, of what earlier days carried on and the days since."""
    together = [part for part in parts if len(part)]
    if rolling is None or not together:
        return None
    horizon = horizon_of(spec, definition, earliest(spec, rolling.statistics[number].snapshot.day))
    state = next_state(definition, merged(together), horizon)
    return as_parquet(state, texts) if len(state) else None


def shared_vectors(
    spec: RankingSpec, here: BucketStatistics, places: Sequence[Chunk], answers: Iterable[Chunk]
) -> dict[str, Vectors]:
    """Returns the vectors of the statistics whose answers came through the shuffle.

    Raises:
      LostRowsError: a statistic's places are absent, or there aren't as many answers as asks; rows would have none, or
        those of others.
    """
    expected, received = [number for number, _ in shared(spec)], sorted(number for _, number, _, _ in places)
    if received != expected:
        raise LostRowsError(
            f"statistics: expected the places of {len(expected)} for a bucket of users, got {len(received)}; Beam's "
            "runner has lost some: run it again, or with fewer workers"
        )
    by_statistic: dict[int, list[pa.Table]] = {}
    for _, number, _, data in sorted(answers, key=lambda chunk: chunk[:3]):
        by_statistic.setdefault(number, []).append(table_of(data))
    result = {}
    for _, number, asks, data in places:
        definition, width = definitions(spec)[number], 0
        sums, latest = np.zeros((0, width), np.float32), None
        if number in by_statistic:
            table = pa.concat_tables(by_statistic[number])
            sums = matrix(table["sums"])
            latest = matrix(table["latest"]) if "latest" in table.column_names else None
        else:
            sums = np.zeros((0, len(definition.statistic.spans) * len(definition.sums)), np.float32)
            latest = np.zeros((0, len(definition.sums)), np.int64) if definition.statistic.age else None
        if len(sums) != asks:
            raise LostRowsError(
                f"statistic {definition.statistic.column}: expected {asks:,} answers for a bucket of users, got "
                f"{len(sums):,}; Beam's runner has lost some: run it again, or with fewer workers"
            )
        ask = np.frombuffer(data_of(data), np.int32).astype(np.int64)
        result[definition.statistic.column] = here.from_float32(definition, sums, latest, ask)
    return result
