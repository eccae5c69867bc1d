"""Transform on a rolling window: a day that was analysed once is not analysed again, and nothing else changes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_transform as tft
import yaml
from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import json_format, text_format
from tfx.proto import transform_pb2
from tfx.types import standard_artifacts

from components.artifacts import Quarantine
from components.interaction_example_gen.executor import Executor as Ingest
from components.transform.executor import Executor as Transform
from schema.example_schema import example_schema
from schema.spec import RankingSpec
from simulation.logs import simulate

SHORTVIDEO = Path(__file__).resolve().parents[3] / "schema" / "specs" / "shortvideo.yaml"
OPTIONS = PipelineOptions(["--runner=FnApiRunner"])


def _spec() -> RankingSpec:
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    # An analysis of each sort, vocabularies, quantiles and a mean, and no more: a graph takes seconds to make.
    features = [feature for feature in declared["features"] if feature["name"] in ("activity", "duration_s")]
    changes = {"features": features, "behaviours": [], "slices": [], "tasks": declared["tasks"][:1], "gates": {}}
    changes["statistics"] = None
    return RankingSpec.model_validate({**declared, **changes, "model": {"min_frequency": 1}})


class Days:
    """Three simulated days, and the executors of ingest and Transform to run on them."""

    def __init__(self, folder: Path):
        self.spec, self.folder, self.pipelines = _spec(), folder, []
        simulate(folder / "logs", users=40, impressions=900, seed=3, days=3, daily=True)

    def _pipeline(self) -> Pipeline:
        self.pipelines.append(Pipeline(options=OPTIONS))
        return self.pipelines[-1]

    def ingest(self, window: str) -> standard_artifacts.Examples:
        examples, quarantine = standard_artifacts.Examples(), Quarantine()
        examples.uri, quarantine.uri = str(self.folder / "examples" / window), str(self.folder / "quarantine" / window)
        properties = {"spec": self.spec.to_json(), "logs": str(self.folder / "logs"), "window": window}
        Ingest(Ingest.Context(make_beam_pipeline_fn=self._pipeline)).Do(
            {},
            {"examples": [examples], "quarantine": [quarantine]},
            {**properties, "state": str(self.folder / "state")},
        )
        return examples

    def transform(self, examples: standard_artifacts.Examples, name: str) -> tft.TFTransformOutput:
        artifacts = {
            "transform_graph": standard_artifacts.TransformGraph(),
            "transformed_examples": standard_artifacts.Examples(),
            "updated_analyzer_cache": standard_artifacts.TransformCache(),
        }
        for key, artifact in artifacts.items():
            artifact.uri = str(self.folder / name / key)
        schema = standard_artifacts.Schema()
        schema.uri = str(self.folder / "schema")
        Path(schema.uri).mkdir(exist_ok=True)
        Path(schema.uri, "schema.pbtxt").write_text(text_format.MessageToString(example_schema(self.spec)))
        splits = transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"])
        Transform(Transform.Context(make_beam_pipeline_fn=self._pipeline)).Do(
            {"examples": [examples], "schema": [schema]},
            {key: [artifact] for key, artifact in artifacts.items()},
            {
                "preprocessing_fn": "models.preprocessing.preprocessing_fn",
                "custom_config": json.dumps({"spec": self.spec.to_json()}),
                "splits_config": json_format.MessageToJson(splits),
                "disable_statistics": 1,
            },
        )
        return tft.TFTransformOutput(artifacts["transform_graph"].uri)

    def analysed(self) -> int:
        """How many examples the latest Transform analysed, by Beam's own counters."""
        return sum(self._counts("num_instances", "Analyze/"))

    def read(self) -> int:
        """How many examples the latest Transform read for analysis."""
        return sum(self._counts("num_raw_records", "AnalysisIndex"))

    def _counts(self, name: str, step: str) -> Iterator[int]:
        for counter in self.pipelines[-1].result.metrics().query()["counters"]:
            if counter.key.metric.name.endswith(name) and step in counter.key.step:
                yield counter.committed


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> Days:
    return Days(tmp_path_factory.mktemp("days"))


def _train_examples(examples: standard_artifacts.Examples, *days: str) -> int:
    files = [str(file) for day in days for file in Path(examples.uri, "Split-train").glob(f"{day}-*")]
    return sum(1 for _ in tf.data.TFRecordDataset(files, "GZIP"))


def test_the_second_day_reuses_what_the_first_one_found_out(days):
    first = days.ingest("2d:2026-01-02")
    days.transform(first, "first")
    assert days.analysed() == _train_examples(first, "2026-01-01", "2026-01-02")

    second = days.ingest("3d:2026-01-03")
    by_day = days.transform(second, "second")
    # The 1st is as it was; of the 2nd more is trained on now that it isn't the last day, and the 3rd is new.
    assert _train_examples(second, "2026-01-01") > 0
    assert days.analysed() == days.read() == _train_examples(second, "2026-01-02", "2026-01-03")

    second.set_string_custom_property("state", "")
    at_once = days.transform(second, "at_once")
    assert days.analysed() == _train_examples(second, "2026-01-01", "2026-01-02", "2026-01-03")
    for vocabulary in ("user_id", "item_id"):
        assert by_day.vocabulary_by_name(vocabulary) == at_once.vocabulary_by_name(vocabulary)
