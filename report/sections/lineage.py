"""What came from what: every stage of the run with what it read and wrote."""

from datetime import UTC, datetime

from report.elements import Block, Cell, Section, Table, Tone
from report.lineage import Execution, Lineage, Used, relative
from report.material import Material

_TONES: dict[str, Tone] = {"complete": "good", "cached": "good", "failed": "bad"}


def section(material: Material) -> Section:
    """Shows the run's lineage from ML Metadata; where that can't be read, the report's own inputs."""
    if material.lineage is None:
        uris = relative([artifact.uri for artifact in material.artifacts.values()])
        rows = [[Cell(key), Cell(uris[artifact.uri])] for key, artifact in material.artifacts.items()]
        sentence = (
            "The metadata of the run can’t be read from where this report was made; these are the artifacts it read."
        )
        blocks: list[Block] = [sentence, Table("What this report was made from", ("Artifact", "Place"), rows)]
        return Section("lineage", "Lineage", blocks)
    return Section(
        "lineage",
        "Lineage",
        [
            "Every stage as ML Metadata has it, in its order; places are relative to the folder of the run. What a "
            "stage took from the cache was written by an earlier run.",
            _table(material.lineage),
        ],
    )


def _table(lineage: Lineage) -> Table:
    used = [used for execution in lineage.executions for used in (*execution.inputs, *execution.outputs)]
    places = relative([entry.uri for entry in used])
    first = datetime.fromtimestamp(min((e.started for e in lineage.executions), default=0), UTC)
    rows = []
    for execution in lineage.executions:
        started = datetime.fromtimestamp(execution.started, UTC)
        rows.append(
            [
                Cell(execution.stage),
                Cell(execution.state, tone=_TONES.get(execution.state, "unsure")),
                Cell(f"{started:%H:%M:%S}", execution.started),
                _seconds(execution),
                Cell(", ".join(_read(entry) for entry in execution.inputs) or "–"),
                Cell(
                    ", ".join(f"#{entry.artifact} {entry.key}: {places[entry.uri]}" for entry in execution.outputs)
                    or "–"
                ),
            ]
        )
    return Table(
        f"The run of {first:%Y-%m-%d}, times in UTC",
        ("Stage", "State", "Started", "Seconds", "Read", "Wrote"),
        rows,
        numeric=("Seconds",),
    )


def _seconds(execution: Execution) -> Cell:
    if execution.state == "running":
        return Cell("–")
    seconds = execution.ended - execution.started
    return Cell(f"{seconds:,.1f}", seconds)


def _read(entry: Used) -> str:
    return f"#{entry.artifact} {entry.key}" + (f" of {entry.stage}" if entry.stage else "")
