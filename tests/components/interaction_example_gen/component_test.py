"""The component in a pipeline: what the next ones read, what the cache notices, what a broken attempt leaves."""

from pathlib import Path

import numpy as np
import pytest
import tfx.v1 as tfx
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.interaction_example_gen.component import InteractionExampleGen
from ingest.errors import IngestError
from schema.spec import RankingSpec
from schema.stages import ingest_part

T = 1_700_000_000
SPEC = RankingSpec.model_validate(
    {
        "name": "videos",
        "log": {
            "layout": "impressions",
            "files": "log*.csv",
            "user": "user",
            "item": "item",
            "timestamp": {"column": "at", "unit": "s"},
        },
        "users": {"files": "users.csv", "key": "user"},
        "items": {"files": "items.csv", "key": "item"},
        "features": [
            {"name": "country", "source": "users", "kind": "categorical"},
            {"name": "topic", "source": "items", "kind": "categorical"},
        ],
        "behaviours": [{"name": "clicked", "column": "click", "max_length": 3}],
        "tasks": [{"name": "view", "column": "play_ms", "at_least": 10}, {"name": "click", "column": "click"}],
    }
)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three files of 400 impressions of 20 users, and the tables."""
    folder = tmp_path / "logs"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        rows = [
            ",".join([f"u{user}", f"v{item}", str(T + at), str(play_ms), str(click)])
            for user, item, at, play_ms, click in random.integers((20, 30, 500, 20, 2), size=(400, 5))
        ]
        (folder / f"log{number}.csv").write_text("\n".join(["user,item,at,play_ms,click", *rows]) + "\n")
    (folder / "users.csv").write_text("user,country\n" + "".join(f"u{i},c{i % 3}\n" for i in range(20)))
    (folder / "items.csv").write_text("item,topic\n" + "".join(f"v{i},t{i % 4}\n" for i in range(25)))
    return folder


def _comparable(ingested) -> dict[str, list[str]]:
    return {name: sorted(repr(sorted(row.items())) for row in rows) for name, rows in ingested.splits.items()}


def _bytes(ingested) -> dict[str, bytes]:
    folder = Path(ingested.examples.uri)
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.gz"))}


def test_the_same_logs_give_the_same_bytes(logs, ingest_logs):
    first = _bytes(ingest_logs(SPEC, logs, shards=3))
    assert len(first) == 9
    assert _bytes(ingest_logs(SPEC, logs, shards=3)) == first


def test_the_examples_do_not_depend_on_the_number_of_shards(logs, ingest_logs):
    assert _comparable(ingest_logs(SPEC, logs, shards=1)) == _comparable(ingest_logs(SPEC, logs, shards=7))


def test_worker_processes_give_the_same_examples(logs, ingest_logs):
    alone = _bytes(ingest_logs(SPEC, logs, shards=3))
    workers = ("--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
    assert _bytes(ingest_logs(SPEC, logs, shards=3, beam=workers)) == alone


def test_what_a_killed_attempt_left_is_no_part_of_the_next(logs, ingest_logs):
    ingested = ingest_logs(SPEC, logs, shards=3)
    before = _bytes(ingested)
    train = Path(ingested.examples.uri) / "Split-train"
    (train / "data_tfrecord-00000-of-00003.gz").write_bytes(b"half a file")
    (train / "data_tfrecord-00000-of-00002.gz").write_bytes(b"of other shards")
    (Path(ingested.examples.uri) / "_scratch").mkdir(exist_ok=True)
    (Path(ingested.examples.uri) / "_scratch/unfinished").write_bytes(b"x")
    again = ingest_logs(SPEC, logs, shards=3)
    assert _bytes(again) == before
    assert sorted(path.name for path in Path(again.examples.uri).iterdir()) == [
        "Split-eval",
        "Split-test",
        "Split-train",
    ]


def test_the_summary_counts_what_the_splits_hold(logs, ingest_logs):
    ingested = ingest_logs(SPEC, logs)
    for name, rows in ingested.splits.items():
        counts = ingested.summary["splits"][name]
        assert counts["examples"] == len(rows)
        for task in ("view", "click"):
            assert counts["tasks"][task]["in_space"] == sum(row[f"space_{task}"][0] for row in rows)
            assert counts["tasks"][task]["positives"] == sum(row[f"label_{task}"][0] for row in rows)
    assert ingested.summary["sources"]["log"] == {"files": 3, "rows": 1200, "quarantined": {}}


def _run(tmp_path: Path, logs: Path, spec: RankingSpec = SPEC, statistics: bool = False) -> list[Path]:
    """Runs ingest under LocalDagRunner; the folders of examples that there are then, oldest first."""
    gen = InteractionExampleGen(spec, str(logs))
    readers = [tfx.components.StatisticsGen(examples=gen.outputs["examples"])] if statistics else []
    database = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="ingest",
        pipeline_root=str(tmp_path / "root"),
        components=[gen, *readers],
        enable_cache=True,
        metadata_connection_config=database,
        beam_pipeline_args=["--runner=FnApiRunner"],
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
    return sorted((tmp_path / "root/InteractionExampleGen/examples").iterdir(), key=lambda path: int(path.name))


def test_statistics_gen_reads_the_examples_and_the_cache_notices_a_changed_file(tmp_path, logs):
    assert len(_run(tmp_path, logs, statistics=True)) == 1
    statistics = list((tmp_path / "root/StatisticsGen/statistics").rglob("Split-*/FeatureStats.pb"))
    assert sorted(path.parent.name for path in statistics) == ["Split-eval", "Split-test", "Split-train"]

    weighted = SPEC.model_copy(update={"training": SPEC.training.model_copy(update={"epochs": 9})})
    assert len(_run(tmp_path, logs, weighted)) == 1

    path = logs / "log1.csv"
    path.write_text(path.read_text().replace(",v1,", ",v2,", 1))
    assert len(_run(tmp_path, logs)) == 2


def test_the_artifacts_tell_tfx_what_it_needs(logs, ingest_logs):
    examples = ingest_logs(SPEC, logs).examples
    assert artifact_utils.decode_split_names(examples.split_names) == ["train", "eval", "test"]
    assert examples.get_custom_property("file_format") == "tfrecords_gzip"
    assert examples_utils.get_payload_format(examples) == example_gen_pb2.FORMAT_TF_EXAMPLE


def test_what_ingest_does_not_read_of_a_spec_is_no_part_of_its_properties():
    feature = SPEC.features[0].model_copy(update={"vocabulary": "places"})
    changed = SPEC.model_copy(update={"features": (feature, *SPEC.features[1:]), "slices": (("country",),)})
    assert ingest_part(changed).to_json() == ingest_part(SPEC).to_json()
    shorter = SPEC.behaviours[0].model_copy(update={"max_length": 2})
    assert ingest_part(SPEC.model_copy(update={"behaviours": (shorter,)})).to_json() != ingest_part(SPEC).to_json()


def test_a_pipeline_without_its_logs_is_refused_when_it_is_built(tmp_path):
    with pytest.raises(IngestError, match="matches no file"):
        InteractionExampleGen(SPEC, str(tmp_path))
    InteractionExampleGen(SPEC, "gs://bucket/logs", fingerprint="")
