"""The report of a run from its folder: the one that the run wrote, or one made anew from ML Metadata."""

from pathlib import Path

from report import INDEX, material
from report.lineage import Lineage, NoRunError, read_lineage
from report.report import report

# Where a report stands that no run wrote: of a run whose stage failed, or one that was asked for again.
REBUILT = "report.html"

# Which output of which stage a report reads under which key.
SOURCES = {
    material.EVALUATION: ("SeesawEvaluator", "evaluation"),
    material.MODEL_RUN: ("Trainer", "model_run"),
    material.QUARANTINE: ("InteractionExampleGen", "quarantine"),
    material.STATISTICS: ("StatisticsGen", "statistics"),
    material.ANOMALIES: ("ExampleValidator", "anomalies"),
    material.DRIFT: ("DistributionValidator", "anomalies"),
    material.INFRA_BLESSING: ("ServingValidator", "blessing"),
    material.PUSHED_MODEL: ("Pusher", "pushed_model"),
}


def latest(output: str | Path) -> Path | None:
    """The report that the latest run wrote; None where it did not get so far.

    Raises:
      NoRunError: there is no run in the folder.
    """
    written = read_run(output).output("EvaluationReport", "report")
    path = Path(written.uri, INDEX) if written else None
    return path if path and path.is_file() else None


def rebuild(output: str | Path) -> Path:
    """Makes the report of the latest run anew from what it left behind, however far it came, and says where it is.

    Raises:
      NoRunError: there is no run in the folder.
    """
    path = Path(output) / REBUILT
    path.write_text(report(read(output)), encoding="utf-8")
    return path


def read(output: str | Path) -> material.Material:
    """All that the latest run left behind for a report."""
    run = read_run(output)
    artifacts = {}
    for key, (stage, output_key) in SOURCES.items():
        if used := run.output(stage, output_key):
            artifacts[key] = material.Artifact(used.uri, used.properties)
    return material.read_material(run.pipeline, run.run_id, artifacts, run)


def read_run(output: str | Path) -> Lineage:
    """The latest run in a folder that `fulcrum run --output` wrote."""
    return read_lineage(Path(output) / "metadata.sqlite")


__all__ = ["NoRunError", "latest", "read", "rebuild"]
