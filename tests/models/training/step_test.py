import numpy as np
import pytest
import tensorflow as tf

from models.kinds import kind_of
from models.ranker import Ranker
from models.training.averaging import WeightAverages
from models.training.optimizer import compile_for_training
from models.training.step import evaluation_function, train_step, training_function
from tests.models.conftest import RECIPE, sizes_of


def test_keras_own_fit_takes_the_same_step(build, batch):
    model, twin = (build(lean=True, balancing="pcgrad", routing="shared_bottom") for _ in range(2))
    model(batch), twin(batch)
    twin.set_weights(model.get_weights())
    for ranker in (model, twin):
        # Its step is as large as the gradient. Adam's first is 0.01 whatever the gradient, and blows up rounding.
        ranker.compile(optimizer=tf.keras.optimizers.legacy.SGD(1.0))
    train_step(model, batch)
    twin.fit(tf.data.Dataset.from_tensors(dict(batch)), verbose=0)
    for mine, keras in zip(model.trainable_variables, twin.trainable_variables, strict=True):
        # A compiled function may fuse what eager operations do one by one.
        np.testing.assert_allclose(mine, keras, atol=1e-5)
    assert int(model.steps_done()) == int(twin.steps_done()) == 1


def ranker_by_recipe(spec, transformed, batch, compiled, sparse, **more) -> Ranker:
    """Returns a ranker ready for a few of eight steps."""
    tf.keras.utils.set_random_seed(1)
    training = spec.training.model_copy(update={**RECIPE, **more})
    model_section = spec.model.model_copy(update={"routing": "mmoe", "task_experts": 1, "shared_experts": 1})
    changed = {"model": model_section, "training": training, "features": (), "behaviours": spec.behaviours[:1]}
    lean = spec.model_copy(update=changed)
    model = Ranker(lean, sizes_of(lean, transformed), None, compiled, sparse)
    model(batch)
    compile_for_training(model, steps=8)
    return model


@pytest.mark.parametrize(("compiled", "sparse"), [("step", False), ("head", True)])
def test_the_whole_recipe_trains_alike_under_xla(spec, transformed, batch, compiled, sparse):
    models = [ranker_by_recipe(spec, transformed, batch, what, sparse) for what in (compiled, "nothing")]
    results = []
    for model in models:
        averages = WeightAverages.of(model)
        step = training_function(model, averages)
        losses = [float(step(batch)) for _ in range(3)]
        results.append((losses, [variable.numpy() for variable in (*model.trainable_variables, *averages.state)]))
    (losses, weights), (expected_losses, expected) = results
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    for mine, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


def test_each_option_of_the_recipe_changes_what_is_trained(spec, transformed, batch):
    def trained(**more) -> np.ndarray:
        model = ranker_by_recipe(spec, transformed, batch, "nothing", True, **more)
        for _ in range(4):
            train_step(model, batch)
        return np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])

    with_all = trained()
    for option in RECIPE.keys() - {"stop_by", "averaging"}:
        assert np.abs(trained(**{option: getattr(spec.training, option)}) - with_all).max() > 1e-5, option


@pytest.mark.parametrize("routing", ["ple", "stem"])
def test_evaluation_encodes_a_batch_once_for_metrics_and_weights(build, batch, routing):
    model = build(lean=True, routing=routing, bottom="dtrn")
    model(batch)
    graph = evaluation_function(model).get_concrete_function(batch).graph
    looked_up = sum(operation.type == "ResourceGather" for operation in graph.get_operations())
    columns = [column for encoder in model.encoders for column in encoder.embeddings.columns]
    assert looked_up == sum(kind_of(column).table(column) is not None for column in columns)


@pytest.mark.parametrize("compiled", ["nothing", "head"])
def test_an_evaluated_batch_gives_the_losses_and_weights_of_separate_calls(build, disturb, batch, compiled):
    model = build(compiled, lean=True, bottom="dtrn")
    model(batch)
    disturb(model)
    model.compute_loss(batch)
    expected = model.task_metrics()
    model.reset_metrics()
    weights = model.evaluate_batch(batch)
    for task, metrics in model.task_metrics().items():
        assert metrics == pytest.approx(expected[task], rel=1e-5)
    # XLA may add up in another order.
    for name, gate in model.gate_weights(batch).items():
        np.testing.assert_allclose(weights.gates[name], gate, atol=1e-6)
    for task, fields in model.refinement_weights(batch).items():
        for name, weight in fields.items():
            np.testing.assert_allclose(weights.refinement[task][name], weight, atol=1e-6)
