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
        self._answers = {one.statistic.name: AnswerCache(*answer_widths(one), _MOST_KEYS) for one in layout.shared}

    def vectors(
        self, keys: KeyReader, asked: int, days: Sequence[int], updates: Updates
    ) -> dict[str, np.ndarray] | None:
        """Returns the statistics' vectors, by their column; None if the generation isn't there any more.

        What was answered at the same edge is answered again, as long as no events from before it have come.
        """
        asks = []
        for one in self._layout.shared:
            of_request, edge = keys.of(one), edge_of(one, asked)
            cache = self._answers[one.statistic.name]
            answers = cache.at(edge, edge * one.spans.granularity, updates, of_request.epoch)
            place = answers.places(of_request)
            absent = np.unique(of_request.code[(place < 0) & (of_request.code >= 0)])
            asks.append((one, of_request, edge, answers, place, absent))
        names = {
            one.statistic.name: [of_request.texts[code] for code in absent.tolist()]
            for one, of_request, _, _, _, absent in asks
        }
        contents = self._read_keys(names, days) if any(names.values()) else {}
        if contents is None:
            return None
        result = {}
        for one, of_request, edge, answers, place, absent in asks:
            if len(absent):
                fold = Fold(merged(self._tiles(one, contents[one.statistic.name])), one.spans)
                answers.add(of_request, absent, *answers_at(one, fold, np.arange(len(absent)), edge))
                place = answers.places(of_request)
            result[one.statistic.column] = vectors(one, answers.sums, answers.latest, place, asked)
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
            known = {name: self._keys.of(name, keys) for name, keys in names.items()}
        absent = {name: [key for key in keys if key not in known[name]] for name, keys in names.items()}
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
            known[name].update(read)
            with self._lock:
                self._keys.add(name, read)
        return {
            name: [[known[name][key] for key in keys], *([next(opened) for _ in keys] for _ in days)]
            for name, keys in names.items()
        }
