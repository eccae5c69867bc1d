import pytest

from evaluation.comparability import contract, not_compared
from schema.spec import Feature, RankingSpec


def test_the_same_spec_is_compared_on_every_task(spec: RankingSpec):
    assert not_compared(contract(spec), contract(spec)) == {}


def test_weights_exponents_and_gates_leave_the_meaning_alone(spec: RankingSpec):
    tasks = tuple(task.model_copy(update={"exponent": 2.0}) for task in spec.tasks)
    changed = spec.model_copy(update={"tasks": tasks, "gates": {}, "slices": ()})
    assert not_compared(contract(spec), contract(changed)) == {}


def test_tasks_that_are_missing_or_mean_something_else_are_named(spec: RankingSpec):
    view, completion, like, _ = spec.tasks
    changed = spec.model_copy(
        update={"tasks": (view.model_copy(update={"at_least": 11.0}), completion, like), "gates": {}}
    )
    assert not_compared(contract(spec), contract(changed)) == {
        "view": "the task of this name was defined differently there",
        "share": "it doesn't have this task",
    }


def test_a_model_of_an_older_schema_reads_less_and_not_more(spec: RankingSpec):
    older = spec.model_copy(update={"features": spec.features[1:], "slices": (("tab",),)})
    assert not_compared(contract(spec), contract(older)) == {}
    reasons = not_compared(contract(older), contract(spec))
    assert reasons.keys() == {"view", "completion", "like", "share"}
    assert reasons["like"] == "it reads country, which the examples don't have so"


def test_a_vector_of_another_size_is_another_column(spec: RankingSpec):
    eight, four = (
        contract(spec.model_copy(update={"features": (*spec.features, vector)}))
        for vector in (Feature(name="embedding", source="log", kind="vector", size=size) for size in (8, 4))
    )
    assert not_compared(eight, contract(spec)) == {}
    assert not_compared(eight, four)["like"] == "it reads embedding, which the examples don't have so"


@pytest.mark.parametrize("task", ["view", "share"])
def test_a_model_without_a_spec_is_compared_on_nothing(spec: RankingSpec, task):
    assert "ranking_spec.json" in not_compared(contract(spec), None)[task]
