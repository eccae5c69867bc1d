"""What TFMA's own evaluator makes of these metrics is tested with the evaluator that replaces it."""

import pytest

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
