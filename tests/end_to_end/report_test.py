"""The report, the comparison and the notebook of a whole run."""

import json
import os
import sqlite3
from pathlib import Path

import nbformat
import pytest
from browser import CHROMIUM, NO_CHROMIUM, chromium
from nbclient import NotebookClient
from typer.testing import CliRunner
from whole_runs import PROJECT, TASKS, Run

from pipeline.cli.main import app
from report import runs as reports
from report.comparison import ComparisonError, compare
from report.comparison_page import findings, page
from report.elements import Table
from report.material import SOURCES
from report.sections import lineage
from report.sections.tasks import MODEL_LABELS
from report.summary import load_summary

NOTEBOOK = PROJECT / "notebooks" / "inspect_slices.ipynb"


def test_a_run_writes_its_report_and_prints_its_place(run: Run):
    path = Path(load_summary(run.output).places["report"])
    assert f"report:           {path}" in run.finished.out
    assert path.is_file()
    assert reports.latest(run.output) == path


def test_the_report_command_says_where_it_is_and_can_make_it_anew(run: Run):
    said = CliRunner().invoke(app, ["report", str(run.output)])
    assert said.output.strip() == load_summary(run.output).places["report"]
    again = CliRunner().invoke(app, ["report", "--rebuild", str(run.output)])
    assert again.output.strip() == str(run.output / "report.html")
    assert "view_through" in (run.output / "report.html").read_text()


def test_a_folder_without_a_run_has_no_report(tmp_path):
    with pytest.raises(reports.NoRunError, match="no run here"):
        reports.rebuild(tmp_path)


def test_everything_that_a_run_has_is_found(run: Run):
    material = reports.read(run.output)
    assert material.unreadable == ()
    assert set(material.artifacts) == set(SOURCES)
    assert material.evaluation is not None
    assert [task.name for task in material.evaluation.tasks] == TASKS
    assert set(material.statistics) == {"train", "eval", "test"}
    assert set(material.drift["test_train"].anomaly_info) == {"hour"}


def test_the_lineage_goes_from_the_logs_to_the_pushed_model(run: Run):
    (table,) = [block for block in lineage.section(reports.read(run.output)).blocks if isinstance(block, Table)]
    read = {row[0].text: row[4].text for row in table.rows}
    assert "examples of InteractionExampleGen" in read["StatisticsGen"]
    assert "transform_graph of Transform" in read["Trainer"]
    assert "model of Trainer" in read["SeesawEvaluator"]
    assert "model_blessing of SeesawEvaluator" in read["Pusher"]
    assert str(run.output) not in "".join(cell.text for row in table.rows for cell in row)


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_the_report_of_a_run_opens_offline_and_shows_every_task(run: Run):
    path = Path(load_summary(run.output).places["report"])
    assert path.stat().st_size < 6_000_000
    with chromium() as browser:
        browser.open(path)
        assert {url for url in browser.requests if not url.startswith("data:")} == {path.as_uri()}
        assert browser.messages == []
        assert browser.evaluate("document.querySelector('#verdict .word').textContent") == "Blessed"
        shown = browser.evaluate("document.querySelector('#tasks table').textContent")
    assert all(task in shown for task in TASKS)
    assert MODEL_LABELS["candidate"] in shown


@pytest.fixture(scope="module")
def twin(run: Run, tmp_path_factory) -> Path:
    """Another folder with the metadata of the same run: a model that differs in nothing."""
    folder = tmp_path_factory.mktemp("twins") / "twin"
    folder.mkdir()
    with sqlite3.connect(run.output / "metadata.sqlite") as source, sqlite3.connect(folder / "metadata.sqlite") as copy:
        source.backup(copy)
    return folder


def test_a_run_compared_with_its_twin_differs_in_nothing(run: Run, twin: Path):
    comparison = compare([run.output, twin])
    (evaluation,) = comparison.paired.values()
    for task in evaluation.tasks:
        difference = evaluation.result(task.name).differences[task.metric]["baseline"]
        assert difference.value == pytest.approx(0, abs=1e-9)
        assert difference.low == pytest.approx(0, abs=1e-9)
    assert findings(comparison) == [f"twin against {run.output.name}: no difference told on {', '.join(TASKS)}."]
    assert comparison.settings() == {}
    shown = page(comparison)
    assert all(task in shown for task in TASKS)


def test_a_comparison_needs_two_different_runs(run: Run):
    with pytest.raises(ComparisonError, match="at least two folders"):
        compare([run.output])
    with pytest.raises(ComparisonError, match="different folders"):
        compare([run.output, run.output])


def test_the_notebook_runs_on_a_run_and_holds_no_output_of_its_own(run: Run, tmp_path, monkeypatch):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    monkeypatch.setenv("FULCRUM_RUN", str(run.output))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT), prepend=os.pathsep)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    said = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    assert all(task in said for task in TASKS)
    assert "country=" in said
    assert '"output_type": "error"' not in said
