import numpy as np
import pytest


def test_each_task_has_its_own_representation(build, disturb, batch):
    model = build(bottom="dtrn")
    alike = model.encode(batch)
    for own in alike[1:]:
        np.testing.assert_allclose(alike[0], own, atol=1e-5)
    disturb(model)
    first, second, _ = model.encode(batch)
    assert np.abs(first - second).max() > 1e-2


def test_behaviours_that_dtrn_is_not_given_are_pooled(build, spec, batch):
    chosen = spec.model.dtrn.model_copy(update={"behaviours": ("liked",)})
    model = build(bottom="dtrn", dtrn=chosen)
    model(batch)
    (encoder,) = model.encoders
    assert set(encoder.pooling) == {"tags", "watched"}
    assert encoder.interest.behaviours == 1


@pytest.mark.parametrize(("refinement", "refine"), [("none", "element"), ("sigmoid", "field"), ("linear", "element")])
def test_how_dtrn_refines_is_configured(build, spec, batch, refinement, refine):
    dtrn = spec.model.dtrn.model_copy(update={"refinement": refinement, "refine": refine, "block": "sequential"})
    model = build(bottom="dtrn", dtrn=dtrn)
    model(batch)
    weights = model.refinement_weights(batch)
    if refinement == "none":
        assert weights == {}
    else:
        assert set(weights) == {"click", "completion", "like"}
        fields = {"user_id", "author", "watched (history)", "liked (interest)"}
        assert fields < set(weights["like"])
        start = 0.5 if refinement == "sigmoid" else 1.0
        np.testing.assert_allclose(list(weights["like"].values()), start)
