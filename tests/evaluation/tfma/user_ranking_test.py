"""What TFMA's own evaluator makes of these metrics is tested with the evaluator that replaces it."""

import math

import numpy as np
import pytest
from tensorflow_model_analysis.metrics.metric_types import StandardMetricInputs

from evaluation.tfma.user_ranking import GroupedAUC, UserMRR, UserNDCG


@pytest.mark.parametrize("metric", [GroupedAUC, UserNDCG, UserMRR])
def test_a_metric_by_user_needs_the_key_of_the_user(metric):
    with pytest.raises(ValueError, match="set `query_key` in its MetricsSpec"):
        metric().computations(model_names=[""], output_names=["like"])
    (computation,) = metric().computations(model_names=[""], output_names=["like"], query_key="user_id")
    assert computation.keys[0].name == metric().name


@pytest.mark.parametrize("metric", [GroupedAUC, UserNDCG, UserMRR])
def test_without_any_user_it_counts_for_the_value_is_undefined(metric):
    (computation,) = metric().computations(model_names=[""], output_names=["like"], query_key="user_id")
    (value,) = computation.combiner.extract_output(computation.combiner.create_accumulator()).values()
    assert value != value


# Of one user.
LABELS, SCORES = [1, 0, 1, 0, 0], [0.2, 0.1, 0.9, 0.8, 0.7]


def of_a_user(metric, at) -> float:
    (computation,) = metric.computations(model_names=[""], output_names=[""], query_key="user_id")
    element = StandardMetricInputs(
        labels=np.array(LABELS)[:, None],
        predictions=np.array(SCORES)[:, None],
        example_weights=np.ones((5, 1)),
        features={"at": np.array(at)[:, None]},
    )
    combiner = computation.combiner
    (value,) = combiner.extract_output(combiner.add_input(combiner.create_accumulator(), element)).values()
    return value


def test_without_a_list_key_all_of_a_users_examples_are_one_list():
    # Of the six pairs, four are in the right order.
    assert of_a_user(GroupedAUC(), [0, 1, 2, 3, 4]) == pytest.approx(4 / 6)
    assert of_a_user(UserMRR(), [0, 1, 2, 3, 4]) == 1


def test_lists_are_told_apart_by_the_key_and_its_length():
    # The lists are -1, 0 to 9 and 10: of both classes is the second alone.
    assert of_a_user(GroupedAUC(list_key="at", list_length=10), [-1, 0, 9, 10, 10]) == 1
    # With one number a list, the two of 10 are of one class as well.
    assert math.isnan(of_a_user(GroupedAUC(list_key="at"), [-1, 0, 9, 10, 10]))
    with pytest.raises(ValueError, match="list_length: expected at least 1, got 0"):
        GroupedAUC(list_key="at", list_length=0)


def test_auc_weighs_lists_by_their_examples_and_the_ranks_all_lists_alike():
    # Three examples, all wrong, and two, right.
    at = [0, 1, 1, 0, 0]
    assert of_a_user(GroupedAUC(list_key="at"), at) == pytest.approx((3 * 0 + 2 * 1) / 5)
    assert of_a_user(UserMRR(list_key="at"), at) == pytest.approx((1 / 3 + 1) / 2)
    assert of_a_user(UserNDCG(list_key="at"), at) == pytest.approx((1 / math.log2(4) + 1) / 2)


def test_a_list_key_that_is_not_one_number_an_example_is_refused():
    with pytest.raises(ValueError, match="list_key 'at': expected one number an example, got 2 of 5 examples"):
        of_a_user(GroupedAUC(list_key="at"), [0, 1])
