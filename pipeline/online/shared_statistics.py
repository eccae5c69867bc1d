"""The statistics whose keys have no user, as a reader of one generation answers them: states read, and answers kept."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from ingest.statistics.answers import Definition
from ingest.statistics.fold import Fold
from ingest.statistics.tiles import Tiles, merged
from pipeline.online import generations
from pipeline.online.answers import AnswerCache, KeyCache
from pipeline.online.generations import Generation, Updates
from pipeline.online.statistics import KeyReader, answer_widths, answers_at, edge_of, vectors
from pipeline.online.values import Layout, Seal, read_records, tiles_of_records
from serving.store.protocol import OnlineStore

# What a process keeps at most.
_MOST_KEYS = 200_000


class SharedStatistics:
    """Answers from one generation and what events have added to it; of use to many threads at once."""

    def __init__(self, store: OnlineStore, generation: Generation, layout: Layout, seal: Seal):
        self._store, self._generation, self._layout, self._seal = store, generation, layout, seal
        self._lock, self._keys = threading.Lock(), KeyCache(_MOST_KEYS)
        self._answers = {
            definition.statistic.name: AnswerCache(*answer_widths(definition), _MOST_KEYS)
            for definition in layout.shared
        }

    def vectors(
        self, keys: KeyReader, request_time: int, days: Sequence[int], updates: Updates
    ) -> dict[str, np.ndarray] | None:
        """Returns the statistics' vectors, by their column; None if the generation isn't there any more.

        What was answered at the same edge is answered again, as long as no events from before it have come.
        """
        asks = []
        for definition in self._layout.shared:
            of_request, edge = keys.of(definition), edge_of(definition, request_time)
            cache = self._answers[definition.statistic.name]
            answers = cache.at(edge, edge * definition.spans.granularity, updates, of_request.epoch)
            places = answers.places(of_request)
            absent = np.unique(of_request.code[(places < 0) & (of_request.code >= 0)])
            asks.append((definition, of_request, edge, answers, places, absent))
        names = {
            definition.statistic.name: [of_request.texts[code] for code in absent.tolist()]
            for definition, of_request, _, _, _, absent in asks
        }
        contents = self._read_keys(names, days) if any(names.values()) else {}
        if contents is None:
            return None
        result = {}
        for definition, of_request, edge, answers, places, absent in asks:
            if len(absent):
                fold = Fold(merged(self._tiles(definition, contents[definition.statistic.name])), definition.spans)
                answers.add(of_request, absent, *answers_at(definition, fold, np.arange(len(absent)), edge))
                places = answers.places(of_request)
            result[definition.statistic.column] = vectors(
                definition, answers.sums, answers.latest, places, request_time
            )
        return result

    def _tiles(self, definition: Definition, contents: Sequence[Sequence[bytes]]) -> list[Tiles]:
        """Returns the tiles of keys' bases and of each day's tails; a tile's key is its place."""
        name, windows = definition.statistic.name, bool(definition.statistic.windows)
        types = [self._layout.state_types[name], *[self._layout.tail_types[name]] * (len(contents) - 1)]
        tiles = []
        for dtype, values in zip(types, contents, strict=True):
            records, counts = read_records(dtype, [name.encode()] * len(values), values)
            tiles.append(tiles_of_records(records, np.repeat(np.arange(len(values)), counts), windows))
        return tiles

    def _read_keys(self, names: Mapping[str, list[str]], days: Sequence[int]) -> dict[str, list[list[bytes]]] | None:
        """Returns the bases of each statistic's keys, and what each of the days has added to them.

        None if the generation isn't there any more; empty where there is nothing of a key.
        """
        generation = self._generation
        with self._lock:
            contents = {name: self._keys.of(name, keys) for name, keys in names.items()}
        absent = {name: [key for key in keys if key not in contents[name]] for name, keys in names.items()}
        sealed = [(self._seal, generation.key(name, key)) for name, keys in absent.items() for key in keys]
        for name, keys in names.items():
            for day in days:
                seal = Seal.of_tail(generation.digest, day)
                sealed += [(seal, generations.tail_key(generation.digest, day, name, key)) for key in keys]
        manifest, *values = self._store.read([generation.manifest, *(key for _, key in sealed)])
        if manifest is None:
            return None
        opened = (
            b"" if value is None else bytes(seal.open(key, value))
            for (seal, key), value in zip(sealed, values, strict=True)
        )
        for name, keys in absent.items():
            read = {key: next(opened) for key in keys}
            contents[name].update(read)
            with self._lock:
                self._keys.add(name, read)
        return {
            name: [[contents[name][key] for key in keys], *([next(opened) for _ in keys] for _ in days)]
            for name, keys in names.items()
        }
