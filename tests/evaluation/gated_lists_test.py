"""The gate on metrics by list, and on slices by a statistic's impressions."""

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.slicer import slicer_lib

from evaluation.eval_config import eval_config
from evaluation.gate import Comparand, checks
from evaluation.metrics import METRICS
from evaluation.outcome import SliceOutcome
from evaluation.plan import PlannedModel, make_plan
from evaluation.totals import COUNTS
from schema.spec import Gate, RankingSpec, SliceGate

COLD, WARM = (("item.impressions", "0"),), (("item.impressions", "10-99"),)
NO_KEY = (("item.impressions", "missing"),)


@pytest.fixture
def requested(spec) -> RankingSpec:
    declared = spec.model_dump(mode="json", exclude_defaults=True)
    log = {**declared["log"], "request": {"gap": "30m"}}
    slices = [["tab"], ["item.impressions"]]
    declared |= {"log": log, "statistics": {"by": ["item"]}, "slices": slices, "gates": {}}
    return RankingSpec.model_validate(declared)


def gated(spec: RankingSpec, **gates: Gate) -> RankingSpec:
    return spec.model_copy(update={"gates": gates})


@pytest.fixture
def result(requested, columns, save_examples, save_model, evaluate):
    """Of a candidate that is as good as the baseline, but where an item is new."""
    count = len(columns.numbers["noise_view"])
    decade = np.arange(count) % 3
    numbers = {**columns.numbers, "noise_view": columns.numbers["noise_view"] * (decade == 0)}
    # All time comes after one half-life.
    width = 2 * (1 + len(requested.tasks) + 1)
    numbers["item_statistics"] = np.full((count, width), 500.0)
    numbers["item_statistics"][:, width // 2] = np.array([0.0, 12.0, np.nan])[decade]
    examples = save_examples(type(columns)(columns.texts, numbers, {"request_start": np.arange(count) % 4}))
    on_slices = SliceGate(max_drop=0.02, keys=(("item.impressions",),))
    spec = gated(
        requested,
        view=Gate(max_drop=1.0, grouped_auc=0.99, grouped_max_drop=0.001, slices=on_slices),
        like=Gate(grouped_auc=0.5, grouped_max_drop=0.02),
    )
    models = {"model": save_model("candidate", {"view": 5.0}), "baseline_model": save_model("baseline")}
    return evaluate(spec, examples=examples, **models)


def test_the_gate_judges_by_list_and_by_impressions(result):
    evaluation, count = result.result, len(result.result.checks)
    verdicts = {(check.task, check.kind, check.metric, check.slice): check.verdict for check in evaluation.checks}
    assert len(verdicts) == count
    of_view = {key[1:]: verdict for key, verdict in verdicts.items() if key[0] == "view"}
    assert of_view == {
        ("floor", "auc", ()): "holds",
        ("floor", "grouped_auc", ()): "fails",
        ("max_drop", "auc", ()): "holds",
        ("max_drop", "grouped_auc", ()): "fails",
        ("max_drop", "auc", COLD): "fails",
        ("max_drop", "auc", WARM): "holds",
        ("max_drop", "auc", NO_KEY): "holds",
    }
    assert verdicts["like", "floor", "grouped_auc", ()] == "holds"
    assert verdicts["like", "max_drop", "grouped_auc", ()] == "holds"
    view_result = evaluation.result("view")
    for check in evaluation.checks:
        if check.metric == "grouped_auc" and check.task == "view":
            by_model = view_result.metrics if check.kind == "floor" else view_result.differences
            model = "candidate" if check.kind == "floor" else "baseline"
            assert check.estimate == by_model["grouped_auc"][model]
    reasons = " ".join(evaluation.reasons)
    assert "view: grouped_auc changed by -" in reasons
    assert "view, item.impressions=0: auc changed by -" in reasons
    # TFMA's viewers read slices and verdicts as those of features.
    slices = {key for key, _ in tfma.load_eval_result(result.evaluation.uri, model_name="candidate").slicing_metrics}
    assert {COLD, WARM, NO_KEY} <= slices
    failures = tfma.load_validation_result(result.evaluation.uri).metric_validations_per_slice
    assert {failure.metric_key.name for slice_ in failures for failure in slice_.failures} == {"auc", "grouped_auc"}


@pytest.mark.parametrize(("ranked_users", "verdict"), [(9, "unjudged"), (10, "holds")])
def test_too_few_users_with_a_list_of_both_classes_are_not_judged(requested, ranked_users, verdict):
    models = tuple(PlannedModel(name, "", frozenset({"view"})) for name in ("candidate", "baseline"))
    spec = gated(requested.model_copy(update={"tasks": requested.tasks[:1]}), view=Gate(grouped_max_drop=0.1))
    counts = np.array([[1000 if name != "ranked_users" else ranked_users for name in COUNTS]])
    of_all = np.full((1, 3, len(METRICS)), 0.01)
    outcome = SliceOutcome((), counts, of_all, of_all, np.full(of_all.shape, 9.0))
    results = checks(spec, make_plan(spec, models), [outcome], Comparand(2, {}), Comparand(None, {}))
    (check,) = [check for check in results if check.metric == "grouped_auc"]
    assert (check.kind, check.verdict) == ("max_drop", verdict)
    if verdict == "unjudged":
        assert check.reason.endswith("9 users with a list of both classes, expected at least 10")


def test_tfmas_own_evaluator_passes_over_slices_by_impressions(requested):
    specs = [
        slicer_lib.SingleSliceSpec(spec=slicing_spec)
        for slicing_spec in eval_config(requested, ["candidate"]).slicing_specs
    ]
    assert [slicing_spec.to_proto().feature_keys for slicing_spec in specs] == [[], ["tab"], ["item.impressions"]]
    slices = slicer_lib.get_slices_for_features_dicts([{"tab": np.array(["home"])}], None, specs)
    assert list(slices) == [(), (("tab", "home"),)]
