"""What the model learned from: counts of ingest, anomalies, and each column's statistics by split."""

from collections.abc import Iterable, Mapping
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2

from report.elements import Block, Cell, Facts, Group, Section, Table
from report.figures import NONE, count_cell, number, share
from report.material import Material
from report.sections.columns import column_table, distributions
from schema.anomalies import anomaly_lines, drift_lines


def section(material: Material) -> Section:
    """Shows data statistics and anomalies, from InteractionExampleGen, StatisticsGen and ExampleValidator."""
    blocks: list[Block] = []
    if material.counts:
        blocks += _ingest(material.counts)
    blocks.append(_anomalies(material))
    if material.drift:
        blocks.append(_drift(material.drift))
    if material.statistics:
        blocks.append(distributions(material.statistics))
        blocks.append(Group("Every column", [column_table(material.statistics)]))
    else:
        blocks.append("There are no statistics of the examples.")
    return Section("data", "Data", blocks)


def _anomalies(material: Material) -> Block:
    if not material.anomalies:
        return "ExampleValidator did not look at the examples."
    lines = [line for split, anomalies in material.anomalies.items() for line in anomaly_lines(anomalies, split)]
    if not lines:
        return f"The examples fit the schema of the spec: no anomaly in {', '.join(material.anomalies)}."
    return Table("Anomalies", ("Split", "Column", "What"), _rows(lines))


def _drift(drift: Mapping[str, anomalies_pb2.Anomalies]) -> Block:
    lines = [line for pair, anomalies in drift.items() for line in drift_lines(anomalies, pair)]
    if not lines:
        return "The newest impressions are like those before them: no drift above the limits of the spec."
    return Table("Drift above the limits of the spec", ("Splits", "Column", "What"), _rows(lines))


def _rows(lines: Iterable[str]) -> list[list[Cell]]:
    """Returns the three parts of each line; the last may be missing."""
    rows = [[Cell(part) for part in line.split(": ", 2)] for line in lines]
    return [[*row, *[Cell("")] * (3 - len(row))] for row in rows]


def _ingest(counts: Mapping[str, Any]) -> list[Block]:
    sources = [
        (
            f"Rows of the {name}",
            f"{read['rows']:,} in {read['files']:,} files, {sum(read['quarantined'].values()):,} quarantined",
        )
        for name, read in counts["sources"].items()
    ]
    if window := counts.get("window"):
        days = ", ".join(f"{day}: {examples:,}" for day, examples in window["examples"].items())
        carried = f"{window['carried_rows']:,} rows, for sequences that reach back further"
        sources += [("Examples by day of the window", days), ("Carried on by earlier runs", carried)]
    blocks: list[Block] = [Facts(sources), _splits(counts["splits"])]
    for field, caption in (("quarantined", "Rows in quarantine"), ("unused", "Rows left out as unused")):
        reasons = [
            [Cell(name), Cell(reason), count_cell(count)]
            for name, read in counts["sources"].items()
            for reason, count in read.get(field, {}).items()
        ]
        if reasons:
            blocks.append(Table(f"{caption}, by reason", ("Source", "Reason", "Rows"), reasons, numeric=("Rows",)))
    return blocks


def _splits(splits: Mapping[str, Any]) -> Table:
    tasks = list(next(iter(splits.values()))["tasks"]) if splits else []
    rows = [
        [Cell(split), count_cell(count["examples"]), *(_labels(count["tasks"][task]) for task in tasks)]
        for split, count in splits.items()
    ]
    caption = "Examples by split; for each task the share of positives (or the mean of a ratio) in its sample space"
    return Table(caption, ("Split", "Examples", *tasks), rows, numeric=("Examples", *tasks))


def _labels(count: Mapping[str, float]) -> Cell:
    rows = count["in_space"]
    if not rows:
        return Cell(NONE)
    if "positives" in count:
        return Cell(f"{share(count['positives'] / rows)} of {rows:,}", count["positives"] / rows)
    return Cell(f"mean {number(count['label_sum'] / rows, 3)} of {rows:,}", count["label_sum"] / rows)
