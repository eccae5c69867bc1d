"""The examples of logs as ingest makes them, by its pure functions in one go: what requests must equal."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from ingest.clock import with_precision
from ingest.examples import ExampleBuilder, Lookup
from ingest.rows import parse, read_source
from ingest.sources import SourceFile
from ingest.statistics.answers import vectors_of
from ingest.timeline import join
from schema.spec import RankingSpec


def examples_of(spec: RankingSpec, sources: dict[str, list[Path]]) -> pa.Table:
    """Returns a row each; `sources` has the files of the log and of the tables."""
    files = {
        name: [SourceFile(name, number, str(path), path.stat().st_size) for number, path in enumerate(paths)]
        for name, paths in sources.items()
    }
    spec = with_precision(spec, files["log"])
    tables = {
        name: pa.concat_tables(
            parse(spec, name, batch)[0] for file in source for batch in read_source(spec, file)
        ).combine_chunks()
        for name, source in files.items()
    }
    rows, timelines = tables["log"], join(spec, tables["log"])
    users, items = (Lookup.of(spec, name, tables.get(name)) for name in ("users", "items"))
    vectors = vectors_of(spec, rows, lambda _: users, lambda _: items)
    build = ExampleBuilder(spec, rows, timelines, users, items, statistics=vectors)
    return pa.table(build(np.arange(len(timelines.impressions))))


def plain(value: object) -> object:
    """Returns a request's or an example's value as Python's own, floats by their bits."""
    if isinstance(value, list | np.ndarray):
        return [plain(element) for element in value]
    if isinstance(value, float | np.floating):
        return np.float32(value).tobytes()
    if isinstance(value, np.generic):
        return plain(value.item())
    return value.encode() if isinstance(value, str) else value
