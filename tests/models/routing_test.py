import pytest
import tensorflow as tf

from models.layers import (
    CrossStitch,
    CustomizedSharing,
    MultiGateMixture,
    ProgressiveExtraction,
    SharedBottom,
    SingleTask,
    StemExtraction,
    TaskFusion,
)
from models.routing import ROUTINGS, Routing, check_routing
from models.training.step import training_function
from schema.spec import Model


@pytest.mark.parametrize("name", ROUTINGS)
def test_every_routing_builds_from_the_default_model(name):
    routing = check_routing(name).build(Model(), 3)
    units = 128 if name == "customized_sharing" else 64
    assert [output.shape.as_list() for output in routing(tf.ones([2, 5]))] == [[2, units]] * 3


def test_names_stand_for_what_they_say():
    built = {name: routing.build(Model(), 2) for name, routing in ROUTINGS.items()}
    assert {name: type(layer) for name, layer in built.items()} == {
        "single_task": SingleTask,
        "shared_bottom": SharedBottom,
        "customized_sharing": CustomizedSharing,
        "cross_stitch": CrossStitch,
        "mmoe": MultiGateMixture,
        "ml_mmoe": MultiGateMixture,
        "cgc": ProgressiveExtraction,
        "ple": ProgressiveExtraction,
        "adatt": TaskFusion,
        "stem": StemExtraction,
    }
    assert (built["cgc"].levels, built["ple"].levels) == (1, 2)
    assert (built["mmoe"].levels, built["ml_mmoe"].levels) == (1, 2)
    # As many experts in a level as an extraction level has in all.
    assert built["mmoe"].experts == built["ml_mmoe"].experts == 2 + 2 + 2
    # All are equally deep.
    for name in ("single_task", "shared_bottom", "customized_sharing", "cross_stitch", "mmoe"):
        assert built[name].units == (64, 64), name
    assert built["cgc"].extractions[0].units == (64, 64)
    assert built["ml_mmoe"].units == built["ple"].extractions[0].units == built["adatt"].units == (64,)


def test_an_unknown_routing_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError,
        match="unknown routing 'plee', expected one of adatt, cgc, cross_stitch, customized_sharing, ml_mmoe",
    ):
        check_routing("plee")


class Toy(tf.keras.layers.Layer):
    """A routing of somebody's own: each task has its own scale of one linear layer."""

    def __init__(self, tasks: int, units: int):
        super().__init__(name="routing")
        self.tasks, self.linear = tasks, tf.keras.layers.Dense(units)

    def build(self, input_shape) -> None:
        self.scale = self.add_weight(name="scale", shape=(self.tasks,), initializer="ones")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        return [scale * self.linear(inputs) for scale in tf.unstack(self.scale)]


def test_a_routing_of_ones_own_is_one_entry(build, batch, monkeypatch):
    with pytest.raises(ValueError, match="unknown routing 'toy'"):
        build(lean=True, routing="toy")
    monkeypatch.setitem(ROUTINGS, "toy", Routing(lambda model, tasks: Toy(tasks, model.expert_units[-1])))
    model = build(lean=True, routing="toy")
    assert {task: output.shape for task, output in model(batch).items()} == dict.fromkeys(
        ("click", "completion", "like"), (64, 1)
    )
    step = training_function(model)
    losses = [float(step(batch)) for _ in range(30)]
    assert losses[-1] < 0.9 * losses[0]
    assert (model.routing.scale.numpy() != 1.0).all()
