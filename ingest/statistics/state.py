"""What days carry on of a statistic: the folded past of each key, and the tiles that late rows may still change."""

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from ingest.statistics.answers import Definition
from ingest.statistics.encoding import tiles_table
from ingest.statistics.fold import Fold
from ingest.statistics.requests import longest
from ingest.statistics.tiles import NEVER, Tiles, merged
from schema.condition import Condition
from schema.spec import RankingSpec


def next_state(definition: Definition, tiles: Tiles, horizon: int) -> Tiles:
    """Returns what rows that are still to come need of the tiles so far, which they may add to from `horizon` on.

    No edge that is asked for later lies before `horizon` (a tile). The tiles before it are folded: their sums and
    what half-lives have left of them stand at the last one. For windows, tiles that one may still reach stay too, but
    add to nothing else.
    """
    spans = definition.spans
    fold, folded = Fold(tiles, spans), tiles.tile < horizon
    last = folded.copy()
    last[:-1] &= (tiles.key[1:] != tiles.key[:-1]) | ~folded[1:]
    if spans.expire is not None:
        last &= horizon - tiles.tile <= spans.expire
    rows, still_open = np.flatnonzero(last), np.flatnonzero(~folded)
    none = np.zeros((len(spans.half_lives), *tiles.total[still_open].shape))
    parts = [_plain(tiles.take(still_open), np.zeros(len(still_open), bool), none)]
    base = tiles.take(rows)
    window = base.window
    reach = horizon - max(spans.windows, default=0)
    if window is not None:
        window = np.where((base.tile >= reach)[:, None], window, 0)
        parts.append(_only_for_windows(tiles, fold, rows, folded & ~last & (tiles.tile >= reach)))
    halves = [decayed[rows] for decayed in fold.decayed]
    decayed = np.stack(halves) if halves else np.zeros((0, *base.total.shape))
    parts.append(
        Tiles(base.key, base.tile, fold.lifetime(rows), window, fold.latest(rows), np.ones(len(rows), bool), decayed)
    )
    return merged(parts)


def _plain(tiles: Tiles, base: np.ndarray, decayed: np.ndarray) -> Tiles:
    return Tiles(tiles.key, tiles.tile, tiles.total, tiles.window, tiles.latest, base, decayed)


def _only_for_windows(tiles: Tiles, fold: Fold, bases: np.ndarray, within: np.ndarray) -> Tiles:
    """Returns the tiles where `within` holds, of the lives that the `bases` belong to, adding to windows alone."""
    lives = np.zeros(len(tiles), bool)
    lives[fold.first[bases]] = True
    window_tiles = tiles.take(within & lives[fold.first])
    latest = None if window_tiles.latest is None else np.full(window_tiles.total.shape, NEVER)
    none = np.zeros((len(fold.decayed), *window_tiles.total.shape))
    return Tiles(
        window_tiles.key,
        window_tiles.tile,
        np.zeros_like(window_tiles.total),
        window_tiles.window,
        latest,
        np.zeros(len(window_tiles), bool),
        none,
    )


def horizon_of(spec: RankingSpec, definition: Definition, earliest: int) -> int:
    """Returns the least edge (a tile) of impressions from the time `earliest` on."""
    return int(definition.edge(np.array(earliest - longest(spec) * definition.ticks_per_second)))


def as_parquet(tiles: Tiles, texts: pa.Array) -> bytes:
    """Returns a part of the state, sorted by the keys' texts and tile, so that it is the same for any order of work."""
    rank = np.empty(len(texts), np.int64)
    order = pc.sort_indices(texts).to_numpy()
    rank[order] = np.arange(len(texts))
    by_text = np.lexsort((tiles.tile, rank[tiles.key]))
    table = tiles_table(tiles.take(by_text), texts)
    table = table.set_column(0, "key", table["key"].cast(pa.string()))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=["key"])
    return sink.getvalue().to_pybytes()


def home_of(spec: RankingSpec, state: str, definition: Definition) -> str:
    """Returns the folder of a statistic's snapshots, whose name holds a digest of all that its numbers depend on."""
    log = spec.log.model_copy(update={"files": ("*",), "max_bad_rows": 0.0})
    features = [feature for feature in spec.features if feature.name in definition.statistic.keys]
    origins = [(feature.source, feature.source_column, feature.derive) for feature in features]
    keys = [table.key for table in (spec.users, spec.items) if table and features]
    sums = [(sum_.name, sum_.bits, _meaning(sum_.condition) if sum_.condition else None) for sum_ in definition.sums]
    dependencies = [log.model_dump(mode="json"), repr(definition.statistic), origins, keys, sums]
    digest = hashlib.sha256(json.dumps(dependencies, sort_keys=True).encode()).hexdigest()
    return FileSystems.join(state, f"{spec.name}-statistics-{definition.statistic.name}-{digest[:12]}")


def _meaning(condition: Condition) -> dict[str, Any]:
    """Returns what decides which values are summed."""
    unread = {"weight", "exponent", "loss"}
    if getattr(condition, "kind", None) is None:
        # What is of no consequence without a kind is left out, so that a state without one keeps its name.
        unread |= {"kind", "scale", "transform"}
    return condition.model_dump(mode="json", exclude=unread)
