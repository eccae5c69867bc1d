"""What the report says of importance by task."""

from dataclasses import replace

from material_of_a_run import make_material

from evaluation.importance import Importance, Importances
from evaluation.result import Estimate
from report.elements import Table
from report.report import report
from report.sections import importance


def test_the_table_has_a_column_a_task_and_marks_what_helps_and_hurts():
    section = importance.section(make_material())
    introduction, torn, table = section.blocks
    assert "10,000 examples of 300 users of eval" in introduction
    assert torn == "Inputs on which tasks are torn: author helps like and hurts share."
    assert isinstance(table, Table)
    assert table.columns == ("Input", "Kind", "Torn", "like, AUC", "share, AUC", "completion, MSE")
    by_name = {row[0].text: row for row in table.rows}
    # Worth most to all tasks together first.
    assert [row[0].text for row in table.rows] == ["liked", "author", "tab"]
    assert (by_name["author"][2].text, by_name["author"][2].detail) == ("helps and hurts", "hurts share")
    assert [cell.tone for cell in by_name["author"][3:]] == ["good", "bad", ""]
    assert by_name["author"][3].text == "+0.0100"
    assert by_name["author"][3].detail == "[+0.0060, +0.0140]"
    assert (by_name["tab"][2].text, by_name["tab"][3].tone) == ("", "")


def test_the_section_says_how_long_measuring_took_where_that_is_known():
    measured = make_material().importances
    for seconds, words in ((41.7, "300 users of eval in 42 s, one"), (None, "300 users of eval, one")):
        introduction, *_ = importance.section(make_material(importances=replace(measured, seconds=seconds))).blocks
        assert words in introduction


def test_without_a_torn_input_the_section_says_so():
    losses = {"like": Estimate(0.01, 0.0, 0.02)}
    importances = Importances("eval", 10, 2, {"like": "auc"}, (Importance("tab", "feature", losses),))
    blocks = importance.section(make_material(importances=importances)).blocks
    assert "No input helps one task and hurts another beyond their intervals." in blocks


def test_a_run_without_importances_has_a_sentence():
    (why,) = importance.section(make_material(importances=None)).blocks
    assert why.startswith("What the inputs are worth was not measured")


def test_the_page_has_the_section():
    page = report(make_material())
    assert 'id="importance"' in page
    assert "helps and hurts" in page
