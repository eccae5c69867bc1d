"""The fused score of `rank`, and the order by it."""

import numpy as np
import pytest
import tensorflow as tf

from models.export import signatures
from models.training.build import build_ranker


def test_the_score_is_the_product_of_powers_and_orders_the_candidates(served, examples, rank_request):
    outputs = served["rank"](**rank_request(examples[0], examples[:30], exponents=(2.0, 0.0, -0.5)))
    product = outputs["click"] ** 2.0 * outputs["like"] ** -0.5
    np.testing.assert_allclose(outputs["score"], product, rtol=1e-5)
    assert sorted(outputs["order"].numpy()) == list(range(30))
    assert (np.diff(outputs["score"].numpy()[outputs["order"]]) <= 1e-6).all()


def test_exponents_default_to_the_specs(ranker, transformed, spec, examples, rank_request):
    exponents = {"click": 0.25, "completion": 1.0, "like": 3.0}
    tasks = tuple(task.model_copy(update={"exponent": exponents[task.name]}) for task in spec.tasks)
    weighted = spec.model_copy(update={"tasks": tasks})
    servable = signatures.Servable(build_ranker(weighted, transformed.output), transformed.output)
    columns = {name: value for name, value in rank_request(examples[0], examples[:5]).items() if name != "exponents"}
    outputs = servable.functions["rank"](columns)
    product = np.prod([outputs[name] ** exponent for name, exponent in exponents.items()], axis=0)
    np.testing.assert_allclose(outputs["score"], product, rtol=1e-5)


def test_equal_scores_keep_the_order_of_the_candidates():
    probabilities = [tf.constant([0.2, 0.9, 0.2, 0.9]), tf.constant([0.5, 0.5, 0.5, 0.5])]
    ranking = signatures.fused_ranking(probabilities, tf.constant([1.0, 1.0]))
    np.testing.assert_allclose(ranking["score"], [0.1, 0.45, 0.1, 0.45], rtol=1e-6)
    assert ranking["order"].numpy().tolist() == [1, 3, 0, 2]


def test_scores_too_small_for_a_float_are_still_ordered():
    ranking = signatures.fused_ranking([tf.constant([1e-20, 0.0, 1e-19])], tf.constant([4.0]))
    assert ranking["score"].numpy().tolist() == [0.0, 0.0, 0.0]
    assert ranking["order"].numpy().tolist() == [2, 0, 1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_exponents_that_are_not_finite_are_refused(served, examples, rank_request, wrong):
    with pytest.raises(tf.errors.InvalidArgumentError, match="exponents: expected finite numbers"):
        served["rank"](**rank_request(examples[0], examples[:3], exponents=(1.0, wrong, 1.0)))


def test_a_ranker_that_reads_nothing_of_the_candidates_has_no_rank(spec, transformed_for):
    reads_users = spec.model_copy(
        update={
            "features": tuple(feature for feature in spec.features if feature.source != "items"),
            "model": spec.model.model_copy(update={"embed_ids": ("user_id",)}),
        }
    )
    transform = transformed_for(reads_users).output
    servable = signatures.Servable(build_ranker(reads_users, transform), transform)
    assert set(servable.functions) == {"serving_default", "predict"}
