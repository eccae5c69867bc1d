"""Runs the component's executor for real, under Beam's in-memory runner, and reads with TensorFlow what it wrote."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tensorflow as tf
from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.types import standard_artifacts
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.artifacts import Quarantine
from components.interaction_example_gen.executor import Executor
from ingest.findings import read_summary
from schema.spec import RankingSpec


@dataclass
class Ingested:
    """What a run left: a table of each split's examples (every value a list), its counts, and the rows left out."""

    examples: standard_artifacts.Examples
    quarantine: Path
    splits: dict[str, list[dict[str, list]]]

    @property
    def summary(self) -> dict[str, Any]:
        return read_summary(str(self.quarantine))

    @property
    def rejected(self) -> list[dict[str, Any]]:
        files = sorted(self.quarantine.glob("rejected-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    @property
    def rows(self) -> list[dict[str, list]]:
        return [row for split in self.splits.values() for row in split]


def _read(folder: Path) -> list[dict[str, list]]:
    files = [str(file) for file in sorted(folder.glob("*"))]
    if not files:
        return []
    records = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
    table = pa.Table.from_batches([ExamplesToRecordBatchDecoder().DecodeBatch(records)])
    return [
        {
            name: [element.decode() if isinstance(element, bytes) else element for element in value or []]
            for name, value in row.items()
        }
        for row in table.to_pylist()
    ]


@pytest.fixture
def ingest_logs(tmp_path: Path) -> Callable[..., Ingested]:
    """`ingest_logs(spec, logs, shards=…, beam=[…])` runs the executor; a second call writes to the same place."""

    def run(
        spec: RankingSpec,
        logs: Path,
        shards: int | None = None,
        beam: tuple[str, ...] = ("--runner=FnApiRunner",),
        window: str | None = None,
        state: Path | None = None,
    ) -> Ingested:
        examples, quarantine = standard_artifacts.Examples(), Quarantine()
        examples.uri, quarantine.uri = str(tmp_path / "gen/examples/1"), str(tmp_path / "gen/quarantine/1")
        options = PipelineOptions(list(beam))
        # Not from `beam_pipeline_args`: TFX would pack itself up for remote workers, a second each time.
        context = Executor.Context(make_beam_pipeline_fn=lambda: Pipeline(options=options))
        executor = Executor(context)
        executor.Do(
            {},
            {"examples": [examples], "quarantine": [quarantine]},
            {"spec": spec.to_json(), "logs": str(logs), "shards": shards, "window": window, "state": str(state)},
        )
        splits = {name: _read(Path(examples.uri) / f"Split-{name}") for name in ("train", "eval", "test")}
        return Ingested(examples, Path(quarantine.uri), splits)

    return run
