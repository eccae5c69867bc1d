"""The report of one run: its sections in the order in which a reader asks."""

from report.elements import Page
from report.material import Material
from report.page import render
from report.sections import (
    curves,
    data,
    importance,
    lineage,
    seesaw,
    sharing,
    slices,
    statistics,
    tasks,
    training,
    verdict,
)

_SECTIONS = (verdict, tasks, slices, seesaw, curves, training, sharing, importance, statistics, data, lineage)


def report(material: Material) -> str:
    """Returns the whole report as HTML. A part that the run doesn't have leaves its section with a sentence."""
    return render(
        Page(
            title=material.pipeline,
            subtitle=f"Report of the run {material.run_id}",
            verdict=verdict.verdict(material),
            sections=[section_module.section(material) for section_module in _SECTIONS],
        )
    )
