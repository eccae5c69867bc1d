"""Rows in memory -> examples, by ingest's own functions and without Beam."""

import numpy as np
import pyarrow as pa

from ingest.errors import IngestError
from ingest.examples import ExampleBuilder, Lookup
from ingest.formats import BadRow, RawBatch
from ingest.rows import columns_of, parse
from ingest.statistics.answers import vectors_of
from ingest.timeline import join
from schema.spec import RankingSpec


def examples_of(
    spec: RankingSpec, log: pa.Table, users: pa.Table | None = None, items: pa.Table | None = None
) -> tuple[pa.Table, list[BadRow]]:
    """The examples of rows in memory, made as the pipeline makes them: every row of a user must be in `log`.

    Args:
      log: rows of the log as read, with the columns of `rows.log_columns`, as text or typed.
      users, items: rows of the tables, where the spec has them.

    Returns:
      The examples, a row each, sorted by user and time; and the rows that were left out, their numbers counted from 1.

    Raises:
      IngestError: a column is missing.
    """
    bad: list[BadRow] = []
    tables: dict[str, pa.Table] = {}
    for source, table in (("log", log), ("users", users), ("items", items)):
        if getattr(spec, source) is None:
            continue
        if table is None:
            raise IngestError(f"the spec {spec.name!r} has a `{source}` table, and none was given")
        reasons = columns_of(spec, source)
        for column, reason in reasons.items():
            if column not in table.column_names:
                raise IngestError(f"{source}: no column {column!r}, which {reason} needs, among {table.column_names}")
        arrays = {name: table[name].combine_chunks() for name in reasons}
        batch = RawBatch(source, np.arange(1, table.num_rows + 1), arrays)
        tables[source], left_out, _ = parse(spec, source, batch)
        bad += left_out
    timelines = join(spec, tables["log"])
    by_user, by_item = (Lookup.of(spec, source, tables.get(source)) for source in ("users", "items"))
    statistics = vectors_of(spec, tables["log"], lambda day: by_user, lambda day: by_item)
    build = ExampleBuilder(spec, tables["log"], timelines, by_user, by_item, statistics=statistics)
    return pa.table(build(np.arange(len(timelines.impressions)))), bad
