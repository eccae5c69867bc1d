import numpy as np
import pytest
import tensorflow as tf

from components.serving_validator.checks import (
    agreement_findings,
    latency_findings,
    output_findings,
    ranking_findings,
    signature_findings,
)
from schema.tasks import UNIT_INTERVAL, Domain
from serving.model.saved_model import Signature, TensorSpec

TASKS = ["view", "click"]


def _ranked(**changes) -> dict[str, np.ndarray]:
    """0.5 · 0.2² = 0.02, 0.4 · 0.5² = 0.1, 0.1 · 1² = 0.1: the second and third are equal."""
    outputs = {
        "view": np.array([0.5, 0.4, 0.1], np.float32),
        "click": np.array([0.2, 0.5, 1.0], np.float32),
        "score": np.array([0.02, 0.1, 0.1], np.float32),
        "order": np.array([1, 2, 0], np.int32),
    }
    return {**outputs, **changes}


def test_a_score_by_the_equation_and_its_order_are_fine():
    assert ranking_findings("rank", TASKS, _ranked(), [1.0, 2.0]) == []


def test_a_score_by_other_exponents_is_found():
    (finding,) = ranking_findings("rank", TASKS, _ranked(), [1.0, 1.0])
    assert finding == "rank: score is 0.02, not 0.1, by the exponents view 1, click 1"


@pytest.mark.parametrize(
    ("order", "what"), [([0, 1, 2], "not by descending score"), ([1, 1, 0], "each of the 3 candidates once")]
)
def test_an_order_that_is_not_all_candidates_by_descending_score_is_found(order, what):
    (finding,) = ranking_findings("rank", TASKS, _ranked(order=np.array(order)), [1.0, 2.0])
    assert what in finding


def test_equal_scores_may_come_either_way_round():
    assert ranking_findings("rank", TASKS, _ranked(order=np.array([2, 1, 0])), [1.0, 2.0]) == []


def test_no_candidates_have_an_empty_ranking():
    nothing = {name: values[:0] for name, values in _ranked().items()}
    assert ranking_findings("rank", TASKS, nothing, [1.0, 2.0]) == []


def test_the_score_of_a_vanishing_output_is_the_models_to_say():
    outputs = _ranked(view=np.array([1e-9, 0.4, 0.1], np.float32), score=np.array([4e-8, 0.1, 0.1], np.float32))
    assert ranking_findings("rank", TASKS, outputs, [1.0, 2.0]) == []


def test_a_score_of_another_shape_is_found():
    (finding,) = ranking_findings("rank", TASKS, _ranked(score=np.zeros((3, 1))), [1.0, 2.0])
    assert "[3, 1]" in finding


def test_outputs_a_hair_apart_agree_and_others_do_not():
    ones = {"view": np.array([[0.5], [0.25]]), "click": np.array([[0.1], [0.1]])}
    near = {"view": np.array([0.5, 0.250009]), "click": np.array([0.1, 0.1])}
    far = {"view": np.array([0.5, 0.250011]), "click": np.array([0.1, 0.1])}
    assert agreement_findings("rank", TASKS, near, ones, "the other") == []
    (finding,) = agreement_findings("rank", TASKS, far, ones, "the other")
    assert finding.startswith("rank disagrees with the other: view is 0.250011, not 0.25,")


def test_not_a_number_agrees_with_nothing():
    nan = {"view": np.array([np.nan])}
    assert agreement_findings("rank", ["view"], nan, nan, "the other")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([[0.5], [np.nan]], "nan"),
        ([[0.5], [np.inf]], "inf"),
        ([[0.5], [1.5]], "[0.5, 1.5]"),
        ([[-0.5], [0.5]], "[-0.5, 0.5]"),
        ([[0.5]], "[1, 1]"),
    ],
)
def test_what_is_no_probability_is_found(values, names):
    (finding,) = output_findings("predict", {"view": UNIT_INTERVAL}, {"view": np.array(values)}, (2, 1))
    assert finding.startswith("predict: view ")
    assert names in finding


def test_outputs_are_held_against_their_tasks_domain():
    outputs = {"seconds": np.array([0.0, 900.0]), "shift": np.array([-40.0, 3.0])}
    domains = {"seconds": Domain(low=0.0), "shift": Domain()}
    assert output_findings("rank", domains, outputs, (2,)) == []
    outputs["seconds"][0], outputs["shift"][0] = -0.5, np.inf
    below, infinite = output_findings("rank", domains, outputs, (2,))
    assert below == "rank: seconds lies in [-0.5, 900], expected at least 0"
    assert infinite == "rank: shift is inf, expected a finite number"


def test_large_outputs_agree_as_closely_as_float32_tells_them_apart():
    expected, near, far = ({"view": np.array([3.0, 500.0 + apart])} for apart in (0.0, 4e-3, 6e-3))
    assert agreement_findings("rank", ["view"], near, expected, "the other") == []
    assert agreement_findings("rank", ["view"], far, expected, "the other")


def test_a_negative_output_without_a_power_is_left_out_of_the_score():
    outputs = _ranked(click=np.array([-3.0, 2.0, -1.0], np.float32))
    outputs["score"] = outputs["view"]
    outputs["order"] = np.argsort(-outputs["view"], kind="stable")
    assert ranking_findings("rank", TASKS, outputs, [1.0, 0.0]) == []
    outputs["score"] = outputs["view"] * np.float32(1.1)
    assert ranking_findings("rank", TASKS, outputs, [1.0, 0.0])


def test_the_limit_itself_is_kept():
    assert latency_findings("rank", 5.0, 5.0, 500) == []
    (finding,) = latency_findings("rank", 5.25, 5.0, 500)
    assert finding == "'rank' of 500 candidates takes 5.25 ms (p99), above the limit of 5 ms"


def _signatures(without: str = "", inputs: tuple[str, ...] = ("user_id", "item_id")) -> dict[str, Signature]:
    takes = {"serving_default": ("examples",), "predict": inputs, "rank": (*inputs, "exponents")}
    gives = {"serving_default": TASKS, "predict": TASKS, "rank": [*TASKS, "score", "order"]}
    return {name: Signature(name, _named(takes[name]), _named(gives[name]), {}) for name in takes.keys() - {without}}


def _named(names) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, tf.string, (None,)) for name in names}


@pytest.mark.parametrize("name", ["serving_default", "predict", "rank"])
def test_a_missing_signature_is_found(spec, name):
    assert signature_findings(spec, _signatures()) == []
    (finding,) = signature_findings(spec, _signatures(without=name))
    assert finding.startswith(f"signature '{name}' is missing; the model has ")


def test_a_model_that_reads_nothing_of_the_candidates_needs_no_rank(spec):
    assert signature_findings(spec, _signatures(without="rank", inputs=("user_id", "clicked_item_id"))) == []


def test_a_signature_that_takes_a_label_is_found(spec):
    findings = signature_findings(spec, _signatures(inputs=("item_id", "label_view")))
    assert findings == [
        f"signature '{name}' takes label_view, which requests do not have" for name in ("predict", "rank")
    ]


def test_a_signature_without_a_task_is_found(spec):
    broken = {**_signatures(), "predict": Signature("predict", _named(["item_id"]), _named(["view"]), {})}
    assert signature_findings(spec, broken) == ["signature 'predict' has no output click"]
