"""The component on real SavedModels: what it decides, what it writes, and what the Pusher makes of it."""

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.components.pusher.executor import Executor as PusherExecutor
from tfx.types import standard_artifacts

from evaluation import importance
from evaluation.evaluate import EvaluationError
from evaluation.result import Estimate, from_json, gain, to_json, transfer
from evaluation.scoring import ScoringError
from schema.spec import Gate, SliceGate

NOISY = {"view": 1.0, "completion": 1.0, "like": 1.0, "share": 1.0}


@pytest.fixture
def push(tmp_path):
    """`push(model, blessing)` runs TFX's Pusher; whether it pushed."""

    def run(model, blessing) -> bool:
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "pushed")
        destination = {"filesystem": {"base_directory": str(tmp_path / "serving")}}
        PusherExecutor(PusherExecutor.Context(tmp_dir=str(tmp_path / "tmp"), unique_id="1")).Do(
            {"model": [model], "model_blessing": [blessing]},
            {"pushed_model": [pushed]},
            {"push_destination": json.dumps(destination), "custom_config": "null"},
        )
        return bool(pushed.get_int_custom_property("pushed"))

    return run


def test_a_model_that_lifts_three_tasks_and_sinks_one_is_not_pushed(spec, examples, save_model, evaluate, push):
    seesaw = save_model("seesaw", {"like": 2.0})
    evaluated = evaluate(spec, examples=examples, model=seesaw, baseline_model=save_model("noisy", NOISY))
    (blocking,) = (check for check in evaluated.result.checks if check.blocks)
    assert (blocking.task, blocking.kind, blocking.verdict) == ("like", "max_drop", "fails")
    lifted = [evaluated.result.result(task) for task in ("view", "completion", "share")]
    assert all(
        gain(result, evaluated.result.tasks[0].metric, "baseline").low > 0
        for result in lifted
        if "auc" in result.metrics
    )
    assert gain(lifted[1], "mean_squared_error", "baseline").low > 0
    message = evaluated.blessing.get_string_custom_property("blessing_message")
    assert message.startswith("like: auc changed by -0.")
    assert not push(seesaw, evaluated.blessing)


def test_a_model_that_is_better_on_all_is_pushed(spec, examples, save_model, evaluate, push):
    better, noisy = save_model("better"), save_model("noisy", NOISY)
    evaluated = evaluate(spec, examples=examples, model=better, baseline_model=noisy, reference_model=noisy)
    assert evaluated.result.blessed
    assert push(better, evaluated.blessing)
    assert {check.verdict for check in evaluated.result.checks} == {"holds"}
    assert evaluated.blessing.get_string_custom_property("baseline_model") == noisy.uri

    # The reference is the same model as the baseline: so are the differences, and TFMA's files have both.
    like = evaluated.result.result("like")
    assert gain(like, "auc") == like.differences["auc"]["baseline"]
    read = tfma.load_eval_result(evaluated.evaluation.uri, model_name="candidate")
    overall = dict(read.slicing_metrics)[()]["like"][""]
    assert overall["auc_gain"] == overall["auc_diff"]
    assert overall["binary_crossentropy_gain"]["boundedValue"]["value"] > 0
    assert overall["auc"]["boundedValue"] == {
        "value": like.metrics["auc"]["candidate"].value,
        "lowerBound": pytest.approx(like.metrics["auc"]["candidate"].low),
        "upperBound": pytest.approx(like.metrics["auc"]["candidate"].high),
    }
    assert tfma.load_validation_result(evaluated.evaluation.uri).validation_ok
    assert {"like", "share", "view"} <= set(dict(read.plots)[()])

    # Every task has a curve of every model, and they are curves.
    assert len(evaluated.result.curves) == 3 * 3
    for curve in evaluated.result.curves:
        assert curve.roc[0] == (0, 0)
        assert curve.roc[-1] == (1, 1)
        assert len(curve.roc) <= 202
        assert sum(point.examples for point in curve.calibration) == evaluated.result.result(curve.task).counts.examples
    assert from_json(to_json(evaluated.result)) == evaluated.result


def test_a_model_that_loses_by_sharing_is_blessed_only_where_the_spec_allows_the_loss(
    spec, examples, save_model, evaluate
):
    seesaw, reference = save_model("seesaw", {"like": 2.0}), save_model("reference", NOISY | {"like": 0.0})
    sharing = spec.model_copy(update={"gates": {"share": Gate(min_gain=0.0)}})
    evaluated = evaluate(sharing, examples=examples, model=seesaw, reference_model=reference)
    assert not evaluated.result.blessed
    (reason,) = evaluated.result.reasons
    assert reason.startswith("like: the gain in auc over the single-task model is -0.")
    assert evaluated.blessing.get_string_custom_property("blessing_message") == reason
    tasks = {task.name: transfer(evaluated.result.result(task.name), task.metric) for task in evaluated.result.tasks}
    assert tasks == {"view": "gains", "completion": "gains", "like": "loses", "share": "gains"}
    assert not tfma.load_validation_result(evaluated.evaluation.uri).validation_ok
    assert [model.routing for model in evaluated.result.models] == ["ple", "ple"]

    allowed = spec.model_copy(update={"gates": {"like": Gate(max_loss=1.0)}})
    assert evaluate(allowed, examples=examples, model=seesaw, reference_model=reference).result.blessed


def test_identical_models_pass_whatever_the_data_can_resolve(spec, save_examples, simulate, save_model, evaluate):
    few = save_examples(simulate(60, 12))
    floors = {task.name: None if task.is_regression else 0.0 for task in spec.tasks}
    strict = spec.model_copy(update={"gates": {name: Gate(max_drop=0.0, auc=auc) for name, auc in floors.items()}})
    model = save_model("model", NOISY)
    evaluation = evaluate(strict, examples=few, model=model, baseline_model=save_model("same", NOISY)).result
    assert evaluation.blessed
    assert evaluation.result("view").differences["auc"]["baseline"].low == 0


def test_what_the_data_cannot_tell_is_named_and_handled_as_the_spec_says(
    spec, save_examples, simulate, save_model, evaluate
):
    few = save_examples(simulate(200, 30))
    models = {"model": save_model("one", {"like": 0.3}), "baseline_model": save_model("other", {"like": 0.28})}
    for handled in ("block", "pass"):
        gates = {"like": Gate(max_drop=0.001, if_unjudged=handled), "share": Gate(auc=0.0), "view": Gate(auc=0.0)}
        evaluation = evaluate(spec.model_copy(update={"gates": gates}), examples=few, **models).result
        (check,) = (check for check in evaluation.checks if check.kind == "max_drop")
        assert check.verdict == "unjudged"
        assert "like: auc can't be judged against the blessed model" in check.reason
        assert evaluation.blessed == (handled == "pass")


def test_the_first_model_has_its_floors_alone_to_reach(spec, examples, save_model, evaluate):
    evaluation = evaluate(spec, examples=examples, model=save_model("first")).result
    assert evaluation.blessed
    assert {check.verdict for check in evaluation.checks if check.kind == "max_drop"} == {"not compared"}
    high = spec.model_copy(update={"gates": {"like": Gate(auc=0.99)}})
    refused = evaluate(high, examples=examples, model=save_model("again")).result
    assert not refused.blessed
    assert refused.reasons[0].startswith("like: auc is 0.")
    assert refused.reasons[0].endswith("below the gate's 0.9900")


def test_a_baseline_of_other_tasks_is_compared_on_those_that_mean_the_same(spec, examples, save_model, evaluate):
    like, share = spec.tasks[2:]
    elsewhere = spec.model_copy(
        update={"tasks": (spec.tasks[0], like.model_copy(update={"within": None}), share), "slices": (), "gates": {}}
    )
    baseline = save_model("other", {"share": 3.0, "like": 3.0}, spec=elsewhere)
    evaluated = evaluate(
        spec, examples=examples, model=save_model("candidate", {"share": 4.0}), baseline_model=baseline
    )
    verdicts = {check.task: check.verdict for check in evaluated.result.checks if check.kind == "max_drop"}
    assert verdicts == {"view": "holds", "completion": "not compared", "like": "not compared", "share": "fails"}
    assert evaluated.result.model("baseline").not_compared == {
        "completion": "it doesn't have this task",
        "like": "the task of this name was defined differently there",
    }
    assert "baseline" not in evaluated.result.result("like").metrics["auc"]


def test_a_gate_on_slices_finds_the_slice_that_fell_behind(spec, columns, save_examples, save_model, evaluate):
    """The candidate is as good as the baseline, but where the country is c1 its signal is noise."""
    numbers = dict(columns.numbers)
    is_c1 = [texts == [b"c1"] for texts in columns.texts["country"]]
    numbers["noise_view"] = columns.numbers["noise_view"] * is_c1
    examples = save_examples(type(columns)(columns.texts, numbers))
    gates = {"view": Gate(max_drop=1.0, slices=SliceGate(max_drop=0.02, keys=(("country",),)))}
    candidate, baseline = save_model("candidate", {"view": 5.0}), save_model("baseline")
    evaluation = evaluate(
        spec.model_copy(update={"gates": gates}), examples=examples, model=candidate, baseline_model=baseline
    ).result
    verdicts = {check.slice: check.verdict for check in evaluation.checks if check.task == "view" and check.slice}
    assert verdicts == {
        (("country", "c0"),): "holds",
        (("country", "c1"),): "fails",
        (("country", "c2"),): "holds",
    }
    assert evaluation.reasons[0].startswith("view, country=c1: auc changed by -")


def test_slices_of_several_values_count_a_row_once_in_each(spec, examples, columns, save_model, evaluate):
    evaluation = evaluate(spec, examples=examples, model=save_model("model")).result
    tags = columns.texts["tags"]
    assert evaluation.result("view", (("tags", "t"),)).counts.examples == sum(b"t" in row_tags for row_tags in tags)
    assert evaluation.result("view", (("tags", "<b>"),)).counts.examples == sum(b"<b>" in row_tags for row_tags in tags)
    assert evaluation.results[0].slice == ()
    assert evaluation.examples == len(tags)


def test_worker_processes_find_the_same(spec, examples, save_model, evaluate):
    models = {"model": save_model("one", NOISY), "baseline_model": save_model("other")}
    here = evaluate(spec, examples=examples, **models).result
    processes = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    there = evaluate(spec, *processes, examples=examples, **models).result
    assert [check.verdict for check in there.checks] == [check.verdict for check in here.checks]
    for in_memory, in_workers in zip(here.results, there.results, strict=True):
        assert in_workers.counts == in_memory.counts
        for metric, by_model in in_memory.metrics.items():
            for model, estimate in by_model.items():
                # To what float32 scores may differ by where threads are split differently.
                there_too = in_workers.metrics[metric][model]
                assert [*vars(there_too).values()] == pytest.approx([*vars(estimate).values()], abs=1e-6)


def test_scores_that_are_none_stop_the_evaluation(spec, columns, save_examples, save_model, evaluate):
    numbers = {**columns.numbers, "signal_like": columns.numbers["signal_like"] * float("nan")}
    examples = save_examples(type(columns)(columns.texts, numbers))
    with pytest.raises(ScoringError, match=r"the candidate .*: expected probabilities of 'like', got nan in \d+ of "):
        evaluate(spec, examples=examples, model=save_model("model"))


def test_a_ratio_outside_its_bounds_stops_the_evaluation(spec, examples, save_model, evaluate, tmp_path):
    model = save_model("model")

    class Doubled(tf.Module):
        def __init__(self):
            super().__init__()
            self.model = tf.saved_model.load(f"{model.uri}/Format-Serving")

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serving_default(self, examples):
            outputs = self.model.signatures["serving_default"](examples=examples)
            return {**outputs, "completion": outputs["completion"] * 2.0}

    doubled = Doubled()
    wrong = standard_artifacts.Model()
    wrong.uri = str(tmp_path / "doubled")
    folder = f"{wrong.uri}/Format-Serving"
    tf.saved_model.save(doubled, folder, signatures={"serving_default": doubled.serving_default})
    expected = r"expected numbers within \[0, 1\] of 'completion', got 1\.\d+ in \d+ of "
    with pytest.raises(ScoringError, match=expected):
        evaluate(spec, examples=examples, model=wrong)


def test_an_empty_split_stops_the_evaluation(spec, examples, save_model, evaluate, tmp_path):
    empty = standard_artifacts.Examples()
    empty.uri, empty.split_names = str(tmp_path / "empty"), examples.split_names
    Path(empty.uri, "Split-test").mkdir(parents=True)
    with pytest.raises(EvaluationError, match="the split 'test' has no files"):
        evaluate(spec, examples=empty, model=save_model("model"))


def test_what_the_inputs_are_worth_is_measured_on_the_eval_split(
    spec, save_examples, simulate, save_model, evaluate, tmp_path
):
    examples = save_examples(simulate(600, 40))
    shutil.copytree(Path(examples.uri) / "Split-test", Path(examples.uri) / "Split-eval")
    examples.split_names = '["eval", "test"]'
    model = save_model("noisy", {"share": 1.0})
    evaluated = evaluate(spec, examples=examples, model=model)
    importances = importance.read(evaluated.evaluation.uri)
    assert (importances.split, importances.examples, importances.users) == ("eval", 600, 40)
    assert importances.seconds > 0
    inputs = {of_input.name: of_input for of_input in importances.inputs}
    assert {"country", "tab", "tags", "signal_like", "noise_share"} <= inputs.keys()
    assert inputs["signal_like"].helps() == ["like"]
    assert inputs["signal_completion"].helps() == ["completion"]
    assert inputs["noise_like"].losses["like"] == Estimate(0.0, 0.0, 0.0)
    assert inputs["noise_share"].losses["share"].value != 0


def test_without_an_eval_split_nothing_is_measured(spec, examples, save_model, evaluate):
    assert importance.read(evaluate(spec, examples=examples, model=save_model("model")).evaluation.uri) is None
