import pytest
from pydantic import ValidationError

from schema.modelling import RankingLoss
from schema.spec import RankingSpec
from schema.stages import examples_part
from schema.tuning import Tuning, hyperparameter

SPEC = {
    "name": "shop",
    "log": {"layout": "impressions", "files": "*.csv", "user": "u", "item": "i", "timestamp": {"column": "t"}},
    "tasks": [{"name": "buy", "column": "bought"}],
    "model": {"shared_experts": 3},
}


def spec(**tuning) -> RankingSpec:
    return RankingSpec.model_validate(SPEC | {"tuning": tuning})


def test_the_chosen_values_take_the_place_of_the_specs_and_the_rest_stays():
    tunable = spec(routing=["mmoe", "ple"], expert_units=[[64], [64, 32]], learning_rate=[0.01, 0.001])
    chosen = tunable.tuned({"routing": "mmoe", "expert_units": "64x32", "learning_rate": 0.01})
    assert (chosen.model.routing, chosen.model.expert_units) == ("mmoe", (64, 32))
    assert chosen.training.learning_rate == 0.01
    assert chosen.model.shared_experts == 3
    assert chosen.tuning is None


RECIPE = {
    "batch_size": 64,
    "learning_rate": 0.01,
    "embedding_learning_rate": 0.02,
    "schedule": "linear",
    "warmup": 0.1,
    "averaging": 0.9,
    "dropout": 0.2,
    "embedding_dropout": 0.3,
    "id_mask": 0.4,
    "embedding_l2": 1e-5,
    "weight_decay": 0.5,
    "clip_norm": 2.0,
    "ratio_loss": "cross_entropy",
}


def test_the_recipe_can_be_tuned():
    tunable = spec(**{name: [value] for name, value in RECIPE.items()})
    assert tunable.tuning.combination(0) == RECIPE
    chosen = tunable.tuned({name: hyperparameter(value) for name, value in RECIPE.items()}).training
    assert {name: getattr(chosen, name) for name in RECIPE} == RECIPE
    other = spec(schedule=["constant", "cosine"], averaging=[0, 0.99], dropout=[0.1])
    assert other.tuning.combination(3) == {"schedule": "cosine", "averaging": 0.99, "dropout": 0.1}


def test_whether_embeddings_are_multiplied_can_be_tuned():
    assert spec(products=[False, True]).tuned({"products": hyperparameter(True)}).model.products
    assert not spec(products=[False, True]).tuned({"products": hyperparameter(False)}).model.products


def test_the_weight_of_a_ranking_loss_can_be_tuned():
    declared = {"training": {"ranking_loss": {"kind": "jrc"}}, "tuning": {"ranking_loss_weight": [0.1, 0.5]}}
    tunable = RankingSpec.model_validate(SPEC | declared)
    assert tunable.tuned({"ranking_loss_weight": 0.5}).training.ranking_loss == RankingLoss(kind="jrc", weight=0.5)
    with pytest.raises(ValidationError, match=r"tuning\.ranking_loss_weight: needs `training.ranking_loss`"):
        spec(ranking_loss_weight=[0.1])


def test_trials_of_several_losses_are_not_compared_by_the_loss():
    tried = {"tuning": {"ratio_loss": ["squared", "cross_entropy"]}}
    assert RankingSpec.model_validate(SPEC | tried).tuning.combinations == 2
    with pytest.raises(ValidationError, match=r"tuning\.ratio_loss: got several with `training.stop_by: loss`"):
        RankingSpec.model_validate(SPEC | tried | {"training": {"stop_by": "loss"}})


def test_the_bottom_can_be_tuned():
    assert spec(bottom=["plain"]).tuned({"bottom": "plain"}).model.bottom == "plain"


def test_combinations_are_counted_in_the_order_of_nested_loops():
    tuning = Tuning(task_experts=(1, 2), expert_units=((8,), (8, 4)))
    assert [tuning.combination(index) for index in range(tuning.combinations)] == [
        {"task_experts": 1, "expert_units": (8,)},
        {"task_experts": 1, "expert_units": (8, 4)},
        {"task_experts": 2, "expert_units": (8,)},
        {"task_experts": 2, "expert_units": (8, 4)},
    ]
    assert [hyperparameter(value) for value in (0.01, "ple", (8, 4))] == [0.01, "ple", "8x4"]


def test_a_routing_that_is_given_is_not_tuned():
    both = spec(routing=["mmoe", "ple"], learning_rate=[0.01])
    assert both.with_training(routing="cgc").tuning.candidates == {"learning_rate": (0.01,)}
    assert spec(routing=["mmoe", "ple"]).with_training(routing="cgc").tuning is None
    assert both.with_training(epochs=2).tuning == both.tuning


def test_examples_do_not_depend_on_what_is_tuned():
    assert examples_part(spec(learning_rate=[0.01])) == examples_part(spec(learning_rate=[0.1]))


def test_it_travels_as_json():
    tunable = spec(trials=3, epochs=1, routing=["ple"], expert_units=[[8, 4]], learning_rate=[0.01])
    assert RankingSpec.from_json(tunable.to_json()) == tunable


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "expected a list of candidates for at least one of `routing`, `bottom`, `task_experts`.*got none"),
        ({"trials": 0, "routing": ["ple"]}, "greater than or equal to 1"),
        ({"routing": ["ple", "mmoe", "ple"]}, "expected candidates that differ, got 'ple' twice"),
        ({"routing": "ple"}, "tuning.routing"),
        ({"shared_experts": [2, 65]}, r"shared_experts.1[\s\S]*less than or equal to 64"),
        ({"expert_units": [[]]}, r"expert_units.0[\s\S]*at least 1 item"),
        ({"learning_rate": [0.0]}, "greater than 0"),
        ({"bottom": ["deep"]}, r"bottom.0[\s\S]*'plain', 'dtrn' or 'din'"),
        ({"schedule": ["sine"]}, r"schedule.0[\s\S]*'constant', 'cosine' or 'linear'"),
        ({"dropout": [1.0]}, r"dropout.0[\s\S]*less than 1"),
        ({"batch_size": [0]}, r"batch_size.0[\s\S]*greater than or equal to 1"),
        ({"warmup": [1.5]}, r"warmup.0[\s\S]*a whole number of steps, got 1.5"),
        ({"clip_norm": [0.0]}, "greater than 0"),
        ({"seed": [1]}, "seed"),
    ],
)
def test_what_can_not_be_tried_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        spec(**wrong)


def test_trials_run_on_one_machine():
    wrong = SPEC | {"tuning": {"routing": ["ple", "mmoe"]}, "training": {"distribution": "multi_worker_mirrored"}}
    with pytest.raises(ValidationError, match=r"training.distribution: got 'multi_worker_mirrored' and `tuning`"):
        RankingSpec.model_validate(wrong)
    RankingSpec.model_validate(wrong | {"training": {"distribution": "mirrored"}})
