"""Logs that somebody still writes, or takes away, while they are read."""

from pathlib import Path

import pytest
from tiny_logs import SPEC, write_tiny

from ingest import graph
from ingest.errors import IngestError
from ingest.rows import read_source
from schema.spec import RankingSpec


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda log: log.write_text(log.read_text() + "ann,a1,15000"), "log-2.csv: changed while it was read, from"),
        (lambda log: log.write_text(log.read_text()[:-10]), "log-2.csv: changed while it was read, from"),
        (Path.unlink, "log-2.csv: went away while it was read"),
    ],
    ids=["grows", "shrinks", "vanishes"],
)
def test_a_log_that_changes_while_it_is_read_stops_the_run(tmp_path, ingest_logs, monkeypatch, change, said):
    _, logs = write_tiny(tmp_path)

    def read_and_change(spec, file):
        yield from read_source(spec, file)
        if file.path.endswith("log-2.csv"):
            change(logs / "log-2.csv")

    monkeypatch.setattr(graph, "read_source", read_and_change)
    with pytest.raises(IngestError, match=said):
        ingest_logs(RankingSpec.model_validate(SPEC), logs)


def test_a_log_that_is_gone_before_it_is_read_is_named(tmp_path, ingest_logs, monkeypatch):
    _, logs = write_tiny(tmp_path)

    def read_nothing(spec, file):
        if file.path.endswith("log-2.csv"):
            (logs / "log-2.csv").unlink()
        yield from read_source(spec, file)

    monkeypatch.setattr(graph, "read_source", read_nothing)
    with pytest.raises(IngestError, match=r"log-2\.csv: can't be opened"):
        ingest_logs(RankingSpec.model_validate(SPEC), logs)
