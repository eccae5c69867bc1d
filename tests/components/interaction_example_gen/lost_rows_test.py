"""A runner of Beam that loses some of what workers handed on: ingest says so, and makes no examples of the rest."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from ingest import graph
from ingest.chunks import Chunk, by_source
from ingest.errors import IngestError
from schema.loading import load_spec
from simulation.logs import simulate

SPEC = load_spec(Path(__file__).resolve().parents[3] / "schema" / "specs" / "shortvideo.yaml")


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    simulate(folder, users=60, impressions=2_000, seed=3, days=2)
    return folder


def losing(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the step that writes examples get one chunk less of the source, of what was grouped for it."""

    def all_but_one(chunks: Iterable[Chunk]) -> dict[str, list[Chunk]]:
        sources = by_source(chunks)
        sources[source] = sources[source][1:]
        return sources

    monkeypatch.setattr(graph, "by_source", all_but_one)


def test_lost_answers_are_told_and_not_taken_for_those_of_other_rows(logs, ingest_logs, monkeypatch):
    losing("answers", monkeypatch)
    with pytest.raises(IngestError, match=r"statistic \S+: expected \S+ answers for a bucket of users, got .* lost"):
        ingest_logs(SPEC, logs, shards=2)


def test_lost_places_are_told_and_examples_dont_lack_the_statistic(logs, ingest_logs, monkeypatch):
    losing("places", monkeypatch)
    with pytest.raises(
        IngestError, match=r"statistics: expected the places of \d for a bucket of users, got \d; .* lost"
    ):
        ingest_logs(SPEC, logs, shards=2)


def test_lost_rows_are_told_by_the_split_that_lacks_examples(logs, ingest_logs, monkeypatch):
    losing("log", monkeypatch)
    spec = SPEC.model_copy(update={"statistics": None, "slices": ()})
    with pytest.raises(IngestError, match=r"split train: [\d,]+ impressions were read, expected as many examples, got"):
        ingest_logs(spec, logs, shards=2)
