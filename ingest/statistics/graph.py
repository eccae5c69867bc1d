"""The Beam steps of statistics whose keys are shared by users: tiles and asks by bucket of keys, and the answers.

What a bucket of users sends of a key is at most its tiles, and what it asks at most the tiles of its rows, however many
rows there are: so no key is hot.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput

from ingest.chunk_files import ChunkFiles, Data, table_of
from ingest.chunks import Chunk, bucket_of, by_source, packed, unpacked
from ingest.encoding.tfrecord import write_whole
from ingest.examples import Lookup
from ingest.findings import Findings, Verdict
from ingest.statistics.answers import Definition, definitions, shared
from ingest.statistics.bucket import BucketRows, BucketStatistics, state_part
from ingest.statistics.encoding import common_codes, fixed_lists, split_asks, split_tiles, tiles_of_table
from ingest.statistics.fold import Answers, Fold
from ingest.statistics.sums import scales
from ingest.statistics.tiles import Tiles, merged
from ingest.statistics.vectors import as_float32
from ingest.windows.rolling import Rolling, lookup_by_day
from ingest.windows.snapshots import part_name, scratch_of
from schema.spec import RankingSpec

_MOST_KEY_BUCKETS = 256

# What a bucket of keys gets: ("early" | "late" | "state" tiles or "asks", where it comes from, Arrow IPC stream).
Part = tuple[str, int, Data]


def key_buckets(shards: int) -> int:
    """Returns over how many buckets the keys of a statistic are spread."""
    return min(shards, _MOST_KEY_BUCKETS)


def state_buckets(spec: RankingSpec, shards: int) -> list[int]:
    """Returns in how many parts each statistic's state is written."""
    return [shards if definition.statistic.by_user else key_buckets(shards) for definition in definitions(spec)]


def state_chunks(
    spec: RankingSpec, number: int, table: pa.Table, index: int, shards: int, files: ChunkFiles
) -> Iterator[Any]:
    """Yields a part of a statistic's state where it is needed: by bucket of users, or (tagged `parts`) of keys."""
    by_user = definitions(spec)[number].statistic.by_user
    keys = table["key"].combine_chunks()
    if by_user:
        # The user's text goes first.
        keys = pa.compute.list_element(pa.compute.split_pattern(keys, "\0", max_splits=1), 0)
    buckets = bucket_of(keys, shards if by_user else key_buckets(shards))
    for bucket in np.unique(buckets).tolist():
        data = files.put(packed(table.filter(pa.array(buckets == bucket))))
        if by_user:
            yield bucket, ("state", number, index, data)
        else:
            yield TaggedOutput("parts", (number * key_buckets(shards) + bucket, ("state", index, data)))


class TileRows(beam.DoFn):
    """A bucket of users -> places of its rows among its asks, as chunks of the bucket; tagged `parts` by key bucket.

    The third field of such a chunk is the number of asks.
    """

    def __init__(self, spec: str, shards: int, rolling: Rolling | None, chunk_folder: str | None):
        self._spec, self._shards, self._rolling = spec, shards, rolling
        self._files = ChunkFiles(chunk_folder)
        self._items: Callable[[int], Lookup] | None = None

    def teardown(self) -> None:
        self._files.close()

    def process(self, element: tuple[int, Iterable[Chunk]], verdict: Verdict, items: list[Chunk]) -> Iterator[Any]:
        bucket, chunks = element
        if verdict.problems:
            return
        spec, buckets = RankingSpec.from_json(self._spec), key_buckets(self._shards)
        if self._items is None:
            self._items = lookup_by_day(spec, "items", unpacked(items))
        sources = by_source(chunks)
        log = unpacked(sources.get("log", []))
        if log is None:
            return
        rows = BucketRows.of(spec, log, unpacked(sources.get("history", [])), self._rolling)
        users = lookup_by_day(spec, "users", unpacked(sources.get("users", [])))
        here = BucketStatistics(spec, rows, users, self._items, self._rolling)
        for number, definition in shared(spec):
            texts = here.keys(definition).texts
            key_bucket = bucket_of(texts, buckets)
            for name, tiles in zip(("early", "late"), here.tiles(number, definition), strict=True):
                for where, data in split_tiles(tiles, texts, key_bucket).items() if tiles is not None else ():
                    yield TaggedOutput("parts", (number * buckets + where, (name, bucket, self._files.put(data))))
            asks = here.asks(definition)
            tables, place = split_asks(asks.key, asks.edge, texts, key_bucket)
            for where, data in tables.items():
                yield TaggedOutput("parts", (number * buckets + where, ("asks", bucket, self._files.put(data))))
            ask = np.where(asks.place >= 0, np.append(place, -1)[asks.place], -1)
            yield bucket, ("places", number, len(asks.key), self._files.put(ask.astype(np.int32).tobytes()))


class AnswerAsks(beam.DoFn):
    """What was sent to a bucket of keys -> answers, as chunks of the buckets that asked; tagged `findings`."""

    def __init__(self, spec: str, shards: int, rolling: Rolling | None, chunk_folder: str | None):
        self._spec, self._shards, self._rolling = spec, shards, rolling
        self._files = ChunkFiles(chunk_folder)

    def teardown(self) -> None:
        self._files.close()

    def process(self, element: tuple[int, Iterable[Part]]) -> Iterator[Any]:
        buckets = key_buckets(self._shards)
        number, key_bucket = divmod(element[0], buckets)
        spec = RankingSpec.from_json(self._spec)
        definition = definitions(spec)[number]
        tables = [(name, origin, table_of(data)) for name, origin, data in element[1]]
        texts, codes = common_codes([table["key"] for _, _, table in tables])
        tiles: dict[str, list[Tiles]] = {"early": [], "late": [], "state": []}
        asks: list[tuple[int, np.ndarray, np.ndarray]] = []
        for (name, origin, table), code in zip(tables, codes, strict=True):
            if name == "asks":
                asks.append((origin, code, table["edge"].to_numpy()))
            else:
                tiles[name].append(tiles_of_table(table, code, bool(definition.statistic.windows)))
        known_tiles = tiles["state"] + tiles["early"]
        part = state_part(spec, number, definition, known_tiles, texts, self._rolling)
        if part is not None and self._rolling:
            folder = self._rolling.statistics[number].snapshot.folder
            path = FileSystems.join(folder, part_name(key_bucket, buckets))
            try:
                write_whole(path, [part], scratch_of(folder))
            except OSError as error:
                problem = f"{error.filename or path}: can't be written: {error.strerror or error}"
                yield TaggedOutput("findings", Findings(problems=[problem]))
        together = known_tiles + tiles["late"]
        if not asks:
            return
        fold = Fold(merged(together), definition.spans) if together else None
        for origin, key, edge in asks:
            answers = fold.at(key, edge) if fold else _nothing(definition, len(key))
            columns = {"sums": fixed_lists(as_float32(answers, scales(definition.sums)))}
            if answers.latest is not None:
                columns["latest"] = fixed_lists(answers.latest)
            yield origin, ("answers", number, key_bucket, self._files.put(packed(pa.table(columns))))


def _nothing(definition: Definition, asks: int) -> Answers:
    """Returns the answers where no row has any of the keys."""
    none = np.zeros((0, len(definition.sums)), np.int64)
    latest = none if definition.statistic.age else None
    windows = none if definition.statistic.windows else None
    empty = Tiles(none[:, 0], none[:, 0], none, windows, latest)
    return Fold(empty, definition.spans).at(np.zeros(asks, np.int64), np.zeros(asks, np.int64))
