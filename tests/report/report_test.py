"""What the report says, by its elements and its markup; `browser_test` looks at the page as a reader does."""

import dataclasses
import json
import re

import pytest
from made_evaluation import SCRIPT, make_evaluation
from material_of_a_run import make_material
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from evaluation.result import Check, Counts, Estimate, SliceResult, write
from report.elements import Facts, Figure, Section, Table
from report.lineage import relative
from report.material import INFRA_BLESSING, Artifact, Material, read_material
from report.report import report
from report.sections import (
    columns,
    curves,
    data,
    lineage,
    seesaw,
    sharing,
    slices,
    statistics,
    tasks,
    training,
    verdict,
)

ALL = (verdict, tasks, slices, seesaw, curves, training, sharing, statistics, data, lineage)
NOTHING = Material("shortvideo", "first")


@pytest.fixture(scope="module")
def whole_page() -> str:
    return report(make_material())


def table_of(section: Section, number: int = 0) -> Table:
    return [block for block in section.blocks if isinstance(block, Table)][number]


def column(table: Table, name: str) -> list[str]:
    index = list(table.columns).index(name)
    return [row[index].text for row in table.rows]


@pytest.mark.parametrize("part", ALL, ids=lambda part: part.__name__.rpartition(".")[2])
def test_a_part_that_a_run_does_not_have_leaves_its_section_with_a_sentence(part):
    section = part.section(NOTHING)
    assert any(isinstance(block, str) and block.endswith(".") for block in section.blocks)
    assert not any(isinstance(block, Figure | Facts) for block in section.blocks)


def test_a_blessed_model_that_was_pushed_says_so():
    conclusion = verdict.verdict(make_material(evaluation=make_evaluation(blessed=True)))
    assert (conclusion.word, conclusion.tone) == ("Blessed", "good")
    assert conclusion.sentence == "Every check of the gate holds. The model was pushed."


def test_a_model_that_the_gate_stopped_gives_its_reasons():
    conclusion = verdict.verdict(make_material())
    assert (conclusion.word, conclusion.tone) == ("Not blessed", "bad")
    assert conclusion.reasons == ("share: AUC fell by 0.0200 [0.0170, 0.0230], allowed 0.0050",)


def test_what_each_task_gains_or_loses_by_sharing_stands_in_the_verdict(whole_page):
    conclusion = verdict.verdict(make_material(evaluation=make_evaluation(blessed=True)))
    assert conclusion.lead == "Of 3 tasks against their single-task models: 1 loses, 1 equal, 1 gains."
    # By hand: -0.004 ± 0.003, an MSE that is higher by 0.002 ± 0.003, and +0.020 ± 0.003.
    assert [(cell.text, cell.tone, cell.detail) for cell in conclusion.tasks] == [
        ("share loses", "bad", "−0.0040 [−0.0070, −0.0010]"),
        ("completion equal", "", "−0.0020 [−0.0050, +0.0010]"),
        ("like gains", "good", "+0.0200 [+0.0170, +0.0230]"),
    ]
    first_screen = whole_page[whole_page.index('id="verdict"') : whole_page.index('id="checks"')]
    assert conclusion.lead in first_screen
    assert '<li class="bad">share loses' in first_screen


def test_a_report_says_where_nobody_looked_whether_tasks_lose_by_sharing():
    alone = make_evaluation(models=("candidate",))
    assert "`training: {reference: true}`" in verdict.verdict(make_material(evaluation=alone)).lead
    one_task = dataclasses.replace(alone, tasks=alone.tasks[:1])
    assert verdict.verdict(make_material(evaluation=one_task)).lead == "There is one task, which shares nothing."
    (candidate,) = alone.models
    single = dataclasses.replace(alone, models=(dataclasses.replace(candidate, routing="single_task"),))
    material = make_material(evaluation=single)
    assert verdict.verdict(material).lead.startswith("This is a single-task model")
    assert sharing.section(material).blocks[0] == "A single-task model: its tasks share nothing."
    assert "A single-task model: its tasks share nothing." not in sharing.section(make_material()).blocks


def test_checks_against_the_single_task_model_are_gains_as_they_are():
    loss, gain = (
        Check("completion", (), kind, "mean_squared_error", Estimate(-0.02, -0.03, -0.01), bound, "fails", True, "why")
        for kind, bound in (("max_loss", 0.005), ("min_gain", 0.002))
    )
    evaluation = dataclasses.replace(make_evaluation(models=("candidate", "reference")), checks=(loss, gain))
    section = verdict.section(make_material(evaluation=evaluation))
    table = table_of(section)
    assert column(table, "Check") == [
        "MSE may lose 0.0050 against the single-task model’s",
        "MSE has to gain 0.0020 over the single-task model’s",
    ]
    assert column(table, "Found") == ["−0.0200", "−0.0200"]
    (figure,) = (block for block in section.blocks if isinstance(block, Figure))
    (row,) = (row for rows in figure.charts[""]["datasets"].values() for row in rows if "name" in row)
    assert (row["value"], row["limit"], row["tone"]) == (-0.02, -0.005, "bad")


def test_a_blessed_model_that_cannot_be_served_is_not_called_blessed():
    refusal = {INFRA_BLESSING: Artifact("x", {"blessed": 0, "reason": "p99 is 700 ms"})}
    conclusion = verdict.verdict(make_material(evaluation=make_evaluation(blessed=True), artifacts=refusal))
    assert (conclusion.word, conclusion.reasons) == ("Not fit to be served", ("p99 is 700 ms",))


def test_a_run_without_an_evaluation_names_the_stage_that_failed():
    conclusion = verdict.verdict(make_material(evaluation=None))
    assert (conclusion.word, conclusion.tone) == ("No verdict", "unsure")
    assert conclusion.reasons == ["Pusher: failed"]


def test_every_check_says_what_was_compared_and_a_doubtful_one_that_it_cannot_be_judged():
    checks = table_of(verdict.section(make_material()))
    assert column(checks, "Verdict") == ["✓ holds", "✓ holds", "✗ fails – blocks", "? cannot be judged"]
    assert column(checks, "Check")[:2] == ["AUC at least 0.6500", "AUC may fall behind the blessed model’s by 0.0050"]
    assert [row[3].detail for row in checks.rows][2] == "[−0.0230, −0.0170]"


def test_two_metrics_of_a_task_that_may_not_fall_are_told_apart():
    evaluation = make_evaluation()
    (drop, *_) = [check for check in evaluation.checks if check.kind == "max_drop"]
    by_list = dataclasses.replace(drop, metric="grouped_auc")
    material = make_material(evaluation=dataclasses.replace(evaluation, checks=(drop, by_list)))
    (figure,) = [block for block in verdict.section(material).blocks if isinstance(block, Figure)]
    (rows,) = [rows for rows in figure.charts[""]["datasets"].values() if "name" in rows[0]]
    assert [row["name"] for row in rows] == [drop.task, f"{drop.task}, grouped AUC"]


def test_the_tasks_stand_beside_each_other_with_a_column_a_model():
    headlines = table_of(tasks.section(make_material()))
    assert column(headlines, "Task") == ["like", "share", "completion"]
    assert column(headlines, "this model") == ["0.8000", "0.7000", "0.0500"]
    assert column(headlines, "blessed model") == ["0.7900", "0.7200", "0.0510"]
    # By hand: the candidate's MSE is 0.002 above the single-task model's, and less is better.
    assert column(headlines, "gain over single-task") == ["+0.0200", "−0.0040", "−0.0020"]
    assert [row[-1].tone for row in headlines.rows] == ["good", "bad", ""]


def test_slices_are_sorted_by_how_far_they_fall_behind():
    table = table_of(slices.section(make_material()))
    behind = [row[2].sort_by for row in table.rows]
    assert behind == sorted(behind)
    assert (table.rows[0][0].text, table.rows[0][1].text, table.rows[0][2].text) == ("country=BR", "share", "−0.0320")


def test_without_another_model_slices_are_compared_with_the_whole_split():
    section = slices.section(make_material(evaluation=make_evaluation(models=("candidate",))))
    cells = {(row[0].text, row[1].text): row[2] for row in table_of(section).rows}
    # By hand: on the third slice the AUC is 0.8 - 3 x 0.004, give or take 0.012; of MSE, less is better.
    assert cells["country=BR", "like"].text == "−0.0120"
    assert cells["country=BR", "like"].detail == "[−0.0240, +0.0000]"
    assert cells["country=BR", "completion"].text == "+0.0120"


def test_a_slice_too_small_for_an_interval_stands_last_however_bad_it_looks():
    evaluation = make_evaluation(models=("candidate",))
    lone = SliceResult("like", (("country", "XX"),), Counts(3, 2, 1, 0), {"auc": {"candidate": Estimate(0.0)}}, {})
    section = slices.section(
        make_material(evaluation=dataclasses.replace(evaluation, results=(*evaluation.results, lone)))
    )
    assert [cell.text for cell in table_of(section).rows[-1][:3]] == ["country=XX", "like", "−0.8000"]


def test_the_seesaw_has_a_chart_a_pair_and_a_point_a_model_with_its_interval():
    (figure,) = seesaw.section(make_material()).blocks
    assert list(figure.charts) == ["like × share", "like × completion", "share × completion"]
    datasets = figure.charts["like × completion"]["datasets"].values()
    points = {row["model"]: row for rows in datasets for row in rows if "model" in row}
    candidate, blessed = points["this model"], points["blessed model"]
    assert (candidate["x"], candidate["y"]) == (0.02, -0.002)
    assert (candidate["y_low"], candidate["y_high"]) == pytest.approx((-0.005, 0.001))
    # By hand: 0.79 - 0.78, and 0.051 - 0.048 turned round.
    assert (blessed["x"], blessed["y"]) == pytest.approx((0.01, -0.003))


def test_the_days_of_the_window_and_what_drifted_are_told():
    section = data.section(make_material())
    facts = dict(next(block for block in section.blocks if isinstance(block, Facts)).pairs)
    assert facts["Examples by day of the window"] == "2026-01-01: 700, 2026-01-02: 300"
    assert facts["Carried on by earlier runs"].startswith("1,012 rows")
    drift = next(block for block in section.blocks if isinstance(block, Table) and block.caption.startswith("Drift"))
    assert [cell.text for cell in drift.rows[0]][:2] == ["test against train", "country"]
    assert "above 0.05" in drift.rows[0][2].text
    calm = data.section(make_material(drift={"test_train": anomalies_pb2.Anomalies()}))
    assert any("no drift above the limits" in block for block in calm.blocks if isinstance(block, str))


def test_histograms_of_splits_are_comparable_however_wide_their_bins_are():
    narrow, wide = (statistics_pb2.FeatureNameStatistics() for _ in range(2))
    for column, width, counts in ((narrow, 1.0, (5, 5)), (wide, 2.0, (10, 10))):
        histogram = column.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
        for index, count in enumerate(counts):
            histogram.buckets.add(low_value=index * width, high_value=(index + 1) * width, sample_count=count)
    # By hand: half of the values in twice the width is a quarter in one.
    assert columns.histograms({"train": narrow, "test": wide}) == [
        *({"x": x, "share": 0.5, "series": "train"} for x in (0.0, 1.0, 2.0)),
        *({"x": x, "share": 0.25, "series": "test"} for x in (0.0, 2.0, 4.0)),
    ]


def test_lineage_says_what_came_from_what_without_the_machines_paths(whole_page):
    table = table_of(lineage.section(make_material()))
    assert column(table, "State") == ["cached", "complete", "failed"]
    assert column(table, "Read")[1] == "#1 examples of InteractionExampleGen"
    assert column(table, "Wrote")[1] == "#2 model: model/2"
    assert column(table, "Seconds")[1] == "60.5"
    assert "/home/me" not in whole_page


def test_places_without_a_common_folder_stay_as_they_are():
    assert relative(["gs://a/b/c", "/x/y"]) == {"gs://a/b/c": "gs://a/b/c", "/x/y": "/x/y"}


def test_an_artifact_whose_files_are_gone_costs_only_its_section(tmp_path):
    write(make_evaluation(), str(tmp_path))
    artifacts = {"evaluation": Artifact(str(tmp_path)), "model_run": Artifact(str(tmp_path / "gone"))}
    material = read_material("shortvideo", "first", artifacts)
    assert material.evaluation == make_evaluation()
    assert material.history is None
    assert "model_run" in material.unreadable[0]
    assert material.unreadable[0] in " ".join(
        block for block in verdict.section(material).blocks if isinstance(block, str)
    )


def test_diagnostics_of_another_shape_are_named_with_what_is_wrong(tmp_path):
    (tmp_path / "history.json").write_text('{"epochs": []}')
    (tmp_path / "diagnostics.json").write_text('{"gate_weights": {"level_1/task_like": "much"}}')
    material = read_material("shortvideo", "first", {"model_run": Artifact(str(tmp_path))})
    assert material.diagnostics is None
    assert "gate_weights.level_1/task_like" in material.unreadable[0]


def test_diagnostics_in_the_documented_shape_are_drawn(tmp_path):
    (tmp_path / "history.json").write_text('{"epochs": []}')
    (tmp_path / "diagnostics.json").write_text(
        json.dumps(
            {
                "gate_weights": {"level_1/task_like": [0.7, 0.3]},
                "gradient_cosine": [{"epoch": 1, "pairs": {"like|share": -0.12}}],
                "loss_weights": [{"epoch": 1, "weights": {"like": 1.0}}],
            }
        )
    )
    material = read_material("shortvideo", "first", {"model_run": Artifact(str(tmp_path))})
    assert material.unreadable == ()
    assert len([block for block in sharing.section(material).blocks if isinstance(block, Figure)]) == 4


def test_tasks_that_share_no_weight_have_no_conflict_to_draw(tmp_path):
    (tmp_path / "history.json").write_text('{"epochs": []}')
    cosines = [{"epoch": 1, "pairs": {}}, {"epoch": 2, "pairs": {}}]
    (tmp_path / "diagnostics.json").write_text(
        json.dumps({"gradient_cosine": cosines, "loss_weights": [{"epoch": 1, "weights": {}}]})
    )
    material = read_material("shortvideo", "first", {"model_run": Artifact(str(tmp_path))})
    assert material.unreadable == ()
    assert sharing.section(material).blocks == ["The trainer’s diagnostics are empty."]
    assert "diagnostics are empty" in report(material)


def test_what_refinement_gives_the_fields_is_drawn_where_the_trainer_has_it(tmp_path):
    def figures(refinement: dict) -> list[Figure]:
        (tmp_path / "history.json").write_text('{"epochs": []}')
        (tmp_path / "diagnostics.json").write_text(json.dumps({"refinement_weights": refinement}))
        material = read_material("shortvideo", "first", {"model_run": Artifact(str(tmp_path))})
        return [block for block in sharing.section(material).blocks if isinstance(block, Figure)]

    (figure,) = figures({"like": {"hour": 1.5, "author": 0.25}, "share": {"hour": 0.75, "author": 1.0}})
    (rows,) = figure.charts[""]["datasets"].values()
    assert {(row["x"], row["y"]): row["value"] for row in rows} == {
        ("like", "hour"): 1.5,
        ("like", "author"): 0.25,
        ("share", "hour"): 0.75,
        ("share", "author"): 1.0,
    }
    assert figures({}) == []


def test_the_page_is_one_file_below_6_mb_that_names_no_other(whole_page):
    assert len(whole_page.encode()) < 6_000_000
    outside = re.sub(r"<script>.*?</script>", "", whole_page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!#|data:)|url\(|@import', outside)


def test_what_the_data_says_is_markup_nowhere(whole_page):
    assert SCRIPT not in whole_page
    # Three: what the charts show, the library, and the page's own.
    assert len(re.findall("<script", whole_page)) == 3


def test_a_number_that_json_does_not_have_leaves_a_gap():
    broken = make_evaluation()
    curve = dataclasses.replace(broken.curves[0], roc=((0.0, 0.0), (float("nan"), 0.5), (1.0, 1.0)))
    section = curves.section(make_material(evaluation=dataclasses.replace(broken, curves=(curve,))))
    json.dumps([figure.charts for figure in section.blocks[0].blocks], allow_nan=False)
