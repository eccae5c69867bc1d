"""EvaluationReport: what a run found, as one HTML page, as a component of the pipeline."""

from collections.abc import Mapping
from dataclasses import replace

from absl import logging
from tfx import types
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from components.artifacts import Quarantine, Report
from report import INDEX
from report.lineage import Lineage, NoRunError, read_lineage
from report.material import EXAMPLES, SPEC, Artifact, read_material
from report.report import report as report_page


@component
def EvaluationReport(  # noqa: N802 (components are named like classes)
    report: OutputArtifact[Report],
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation] = None,
    model_run: InputArtifact[standard_artifacts.ModelRun] = None,
    quarantine: InputArtifact[Quarantine] = None,
    statistics: InputArtifact[standard_artifacts.ExampleStatistics] = None,
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies] = None,
    drift: InputArtifact[standard_artifacts.ExampleAnomalies] = None,
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing] = None,
    pushed_model: InputArtifact[standard_artifacts.PushedModel] = None,
    examples: InputArtifact[standard_artifacts.Examples] = None,
    metadata_path: Parameter[str] = None,
    spec: Parameter[str] = None,
) -> None:
    """Writes what a run found as one page, `index.html`: verdict, tasks, slices, statistics, data, lineage and more.

    Each input that is left out leaves its section with a sentence.

    ```python
    EvaluationReport(evaluation=evaluator.outputs["evaluation"], model_run=trainer.outputs["model_run"], …)
    ```

    Args:
      metadata_path: the SQLite file of ML Metadata, from whose latest run the lineage is read; None where there is no
        such file, as on Kubeflow: the page then names its inputs only.
      spec: the spec that `examples` were made by, as JSON; only for what it says of its statistics.
    """
    inputs = {
        "evaluation": evaluation,
        "model_run": model_run,
        "quarantine": quarantine,
        "statistics": statistics,
        "anomalies": anomalies,
        "drift": drift,
        "infra_blessing": infra_blessing,
        "pushed_model": pushed_model,
    }
    artifacts = {key: artifact for key, artifact in inputs.items() if artifact is not None}
    lineage = _lineage(metadata_path) if metadata_path else None
    pipeline, run = (lineage.pipeline, lineage.run_id) if lineage else (_pipeline_name(artifacts), "(unnamed)")
    artifacts_read = {key: _artifact(artifact) for key, artifact in artifacts.items()}
    if examples is not None:
        artifacts_read[EXAMPLES] = Artifact(examples.uri, {SPEC: spec})
    material = read_material(pipeline, run, artifacts_read, lineage)
    io_utils.write_string_file(f"{report.uri}/{INDEX}", report_page(material))


def _lineage(metadata_path: str) -> Lineage | None:
    """Returns the lineage of the run under way, the latest one, without the stage that is still running: this one."""
    try:
        run = read_lineage(metadata_path)
    except NoRunError as error:
        logging.warning("The report goes without the run's lineage: %s", error)
        return None
    ended = tuple(execution for execution in run.executions if execution.state != "running")
    return replace(run, executions=ended)


def _pipeline_name(artifacts: Mapping[str, types.Artifact]) -> str:
    names = [artifact.pipeline_name for artifact in artifacts.values() if artifact.pipeline_name]
    return names[0] if names else "ranker"


def _artifact(artifact: types.Artifact) -> Artifact:
    properties = {}
    for key, value in artifact.mlmd_artifact.custom_properties.items():
        if field := value.WhichOneof("value"):
            properties[key] = getattr(value, field)
    return Artifact(artifact.uri, properties)
