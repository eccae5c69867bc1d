import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from models.layers import PLE, STEM, AdaTT, CrossStitch, CustomizedSharing, MMoE, SharedBottom, SingleTask
from models.routing import ROUTINGS, RoutingFactory, check_routing, check_routings, routing_names
from models.trainer import run_fn
from models.training.step import training_function
from schema.columns import model_columns
from schema.loading import load_spec
from schema.spec import Model
from schema.tuning import Tuning

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
SHORTVIDEO = Path(__file__).parents[2] / "schema" / "specs" / "shortvideo.yaml"


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
        "mmoe": MMoE,
        "ml_mmoe": MMoE,
        "cgc": PLE,
        "ple": PLE,
        "adatt": AdaTT,
        "stem": STEM,
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
        match="unknown routing 'plee', expected one of adatt, auto, cgc, cross_stitch, customized_sharing, ml_mmoe",
    ):
        check_routing("plee")


def test_auto_is_a_routing_of_the_model_and_none_to_be_tried_in_tuning():
    spec = load_spec(SHORTVIDEO)
    check_routings(spec.with_training(routing="auto"))
    tuning = spec.model_copy(update={"tuning": Tuning(routing=["ple", "auto"])})
    with pytest.raises(ValueError, match=r"tuning.routing\[1\]: unknown routing 'auto', expected one of adatt, cgc"):
        check_routings(tuning)


def test_the_docs_list_every_routing_and_no_other():
    table = DOCS.read_text().split("## Routings")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)[1:] == list(routing_names())


class Toy(tf.keras.layers.Layer):
    """A routing of a user's own, of plain Keras layers: each task has its own scale of one linear layer."""

    def __init__(self, tasks: int, units: int):
        super().__init__(name="routing")
        self.tasks, self.linear = tasks, tf.keras.layers.Dense(units)
        self.scales = [tf.keras.layers.Dense(1, use_bias=False) for _ in range(tasks)]

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        return [self.linear(inputs) * scale(inputs) for scale in self.scales]


@pytest.fixture
def toy(monkeypatch) -> str:
    monkeypatch.setitem(ROUTINGS, "toy", RoutingFactory(lambda model, tasks: Toy(tasks, model.expert_units[-1])))
    return "toy"


def test_a_routing_of_a_users_own_is_one_entry(build_for_training, batch, toy):
    with pytest.raises(ValueError, match="unknown routing 'toys'"):
        build_for_training(lean=True, routing="toys")
    model = build_for_training(lean=True, routing=toy)
    assert {task: output.shape for task, output in model(batch).items()} == dict.fromkeys(
        ("click", "completion", "like"), (64, 1)
    )
    step = training_function(model)
    start = model.routing.get_weights()
    losses = [float(step(batch)) for _ in range(30)]
    assert losses[-1] < 0.9 * losses[0]
    assert all(np.any(before != after) for before, after in zip(start, model.routing.get_weights(), strict=True))


@pytest.mark.parametrize("bottom", ["plain", "dtrn"])
def test_a_routing_of_a_users_own_scores_candidates_as_the_same_rows(build, batch, toy, bottom, monkeypatch):
    if bottom == "dtrn":
        # One input a task.
        class ToyOfLists(Toy):
            def call(self, inputs):
                return [super(ToyOfLists, self).call(task_input)[k] for k, task_input in enumerate(inputs)]

        monkeypatch.setitem(ROUTINGS, toy, RoutingFactory(lambda model, tasks: ToyOfLists(tasks, 4)))
    model = build(lean=True, routing=toy, bottom=bottom)
    columns = {column.name: column.side for column in model_columns(model.spec)}
    user = {name: batch[name][:1] if side == "user" else batch[name] for name, side in columns.items()}
    rows = {name: tf.repeat(user[name], 64, axis=0) if side == "user" else user[name] for name, side in columns.items()}
    expected = model(rows)
    for task, output in model.score_candidates(user).items():
        np.testing.assert_allclose(output, expected[task], atol=1e-5)


def test_a_routing_of_a_users_own_trains_is_saved_and_answers_rank(spec, trainer_arguments, toy, tmp_path):
    # Fewer columns and one epoch, for time's sake.
    lean = spec.model_copy(
        update={
            "features": (),
            "behaviours": spec.behaviours[:1],
            "model": spec.model.model_copy(update={"routing": toy}),
            "training": spec.training.model_copy(update={"epochs": 1}),
        }
    )
    run_fn(FnArgs(**trainer_arguments(lean, tmp_path)))
    rank = tf.saved_model.load(str(tmp_path / "model")).signatures["rank"]
    specs = rank.structured_input_signature[1]
    items = {column.name for column in model_columns(lean) if column.side == "item"}

    def values(name: str, candidates: list[bytes]) -> tf.Tensor:
        spec = specs[name]
        if name in items:
            return tf.constant(candidates) if spec.dtype == tf.string else tf.ones([len(candidates)])
        shape = [size or 0 for size in spec.shape]
        return tf.fill(shape, b"u1") if spec.dtype == tf.string else tf.ones(shape, spec.dtype)

    both = rank(**{name: values(name, [b"item_id1", b"item_id2"]) for name in specs})
    alone = rank(**{name: values(name, [b"item_id2"]) for name in specs})
    for task in ("click", "completion", "like"):
        assert both[task].shape[0] == 2
        assert np.ptp(both[task].numpy()) > 0
        np.testing.assert_allclose(both[task][1:], alone[task], atol=1e-6)
