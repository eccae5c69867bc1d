"""The report of a run from its folder: the one that the run wrote, or one made anew from ML Metadata."""

from pathlib import Path

from report import INDEX
from report.lineage import NoRunError, read_run
from report.material import Material, artifacts_of, read_material
from report.report import report

# Where a report stands that no run wrote: of a run whose stage failed, or one that was asked for again.
REBUILT = "report.html"


def latest(output: str | Path) -> Path | None:
    """Returns the page that the latest run wrote; None where it did not get so far.

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


def read(output: str | Path) -> Material:
    """Reads all that the latest run left behind for a report.

    Raises:
      NoRunError: there is no run in the folder.
    """
    run = read_run(output)
    return read_material(run.pipeline, run.run_id, artifacts_of(run), run)


__all__ = ["NoRunError", "latest", "read", "rebuild"]
