"""The component on its own: each input may be left out, and the lineage is that of the run under way."""

from pathlib import Path

import pytest
import tensorflow as tf
from made_evaluation import make_evaluation
from tfx import v1 as tfx
from tfx.types import standard_artifacts

from components.artifacts import Report
from components.evaluation_report import EvaluationReport
from evaluation.result import write
from report.lineage import read_run
from schema.spec import RankingSpec


@pytest.fixture
def evaluation(tmp_path: Path) -> standard_artifacts.ModelEvaluation:
    artifact = standard_artifacts.ModelEvaluation()
    artifact.uri = str(tmp_path / "evaluation")
    Path(artifact.uri).mkdir()
    write(make_evaluation(), artifact.uri)
    return artifact


def page_of(folder: Path, **inputs: object) -> str:
    report = Report()
    report.uri = str(folder / "report")
    EvaluationReport.test_call(report=report, **inputs)
    return Path(report.uri, "index.html").read_text()


def test_it_is_known_by_its_name_and_what_it_takes_and_gives(evaluation):
    node = EvaluationReport(evaluation=tfx.dsl.Channel(type=standard_artifacts.ModelEvaluation))
    assert node.id == "EvaluationReport"
    assert list(node.inputs) == ["evaluation"]
    assert {key: channel.type.TYPE_NAME for key, channel in node.outputs.items()} == {
        "report": "fulcrum.EvaluationReport"
    }
    with pytest.raises(ValueError, match="metrics"):
        EvaluationReport(metrics=tfx.dsl.Channel(type=standard_artifacts.ModelEvaluation))


def test_without_metadata_it_names_what_it_read(evaluation, tmp_path):
    page = page_of(tmp_path, evaluation=evaluation)
    assert "Not blessed" in page
    assert "The metadata of the run can’t be read" in page


def test_without_any_input_there_is_a_page_that_says_so(tmp_path):
    page = page_of(tmp_path, metadata_path=str(tmp_path / "gone.sqlite"))
    assert "No verdict" in page
    assert "Report of the run (unnamed)" in page


def test_of_examples_with_their_spec_it_tells_what_statistics_hold(tmp_path):
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    folder = Path(examples.uri, "Split-train")
    folder.mkdir(parents=True)
    example = tf.train.Example()
    for name, values in {"item_statistics": [7.0, 2.0], "label_like": [1.0], "space_like": [1.0]}.items():
        example.features.feature[name].float_list.value.extend(values)
    with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as writer:
        writer.write(example.SerializeToString())
    log = {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "at"}}
    statistics = {"by": ["item"], "half_lives": []}
    declared = {"name": "videos", "log": log, "tasks": [{"name": "like", "column": "like"}], "statistics": statistics}
    spec = RankingSpec.model_validate(declared).to_json()
    assert "item.like.lifetime" in page_of(tmp_path, examples=examples, spec=spec)
    assert "item.like.lifetime" not in page_of(tmp_path, examples=examples)


def test_in_a_pipeline_it_names_the_run_and_every_stage_before_it(evaluation, tmp_path):
    database = str(tmp_path / "metadata.sqlite")
    importer = tfx.dsl.Importer(source_uri=evaluation.uri, artifact_type=standard_artifacts.ModelEvaluation).with_id(
        "Imported"
    )
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="judged",
        pipeline_root=str(tmp_path / "root"),
        components=[importer, EvaluationReport(evaluation=importer.outputs["result"], metadata_path=database)],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(database),
    )
    for _ in range(2):
        tfx.orchestration.LocalDagRunner().run(pipeline)
    run = read_run(tmp_path)
    written = run.output("EvaluationReport", "report")
    assert written is not None
    page = Path(written.uri, "index.html").read_text()
    assert f"Report of the run {run.run_id}" in page
    assert ">Imported<" in page
    assert ">EvaluationReport<" not in page
