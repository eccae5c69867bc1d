import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schema.spec import Behaviour, Condition, Feature, Log, RankingSpec, Split, Timestamp

EVENTS = {
    "name": "shop",
    "log": {
        "layout": "events",
        "files": "*.csv",
        "user": "u",
        "item": "i",
        "timestamp": {"column": "t"},
        "event": "e",
        "impression": "SHOWN",
        "attribution_window": "1d",
    },
    "tasks": [{"name": "buy", "event": "BOUGHT"}],
}


def events_spec(**more) -> RankingSpec:
    return RankingSpec.model_validate(EVENTS | more)


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1_800), ("12h", 43_200), ("2d", 172_800), ("0s", 0)]
)
def test_a_duration_is_seconds(text, seconds):
    assert Behaviour(name="seen", event="SHOWN", delay=text).delay == seconds


@pytest.mark.parametrize("wrong", ["", "5", "m", "5 m", "5m\n", "-5m", "1.5h", "1w", 5, None])
def test_anything_else_is_no_duration(wrong):
    with pytest.raises(ValidationError, match="expected a duration such as 45s, 30m, 12h or 1d"):
        Behaviour(name="seen", event="SHOWN", delay=wrong)


@pytest.mark.parametrize(("unit", "ticks"), [("s", 1), ("ms", 1_000), ("us", 1_000_000), ("iso", 1_000)])
def test_a_unit_has_ticks_per_second(unit, ticks):
    assert Timestamp(column="t", unit=unit).ticks_per_second == ticks


def test_one_file_pattern_stands_without_a_list():
    assert events_spec().log.files == ("*.csv",)


@pytest.mark.parametrize(
    ("given", "counts"),
    [(3, (3, 3)), ([1, 2], (1, 2)), ({"sell": 2, "buy": 1}, (1, 2))],
    ids=["one", "list", "by name"],
)
def test_experts_are_counted_for_all_tasks_in_their_order_or_by_name(given, counts):
    tasks = [{"name": "buy", "event": "BOUGHT"}, {"name": "sell", "event": "SOLD"}]
    spec = events_spec(tasks=tasks, model={"task_experts": given})
    assert spec.task_experts == counts
    assert RankingSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("bottom", ["dtrn", "din"])
def test_attention_reads_every_behaviour_unless_told(bottom):
    behaviours = [{"name": name, "event": name} for name in ("seen", "bought")]
    assert getattr(events_spec(behaviours=behaviours), f"{bottom}_behaviours") == ("seen", "bought")
    chosen = {"bottom": bottom, bottom: {"behaviours": ["bought"]}}
    assert getattr(events_spec(behaviours=behaviours, model=chosen), f"{bottom}_behaviours") == ("bought",)


def test_every_value_is_frozen():
    spec = events_spec()
    with pytest.raises(ValidationError, match="frozen"):
        spec.log.user = "x"
    with pytest.raises(ValidationError, match="frozen"):
        spec.tasks[0].weight.decay = 0.5


def test_what_is_left_out_has_the_documented_defaults():
    spec = events_spec()
    assert (spec.split.eval, spec.split.test) == (0.1, 0.1)
    assert spec.tasks[0].weight.initial == spec.tasks[0].weight.decay == 1.0
    assert spec.model.routing == "ple"
    assert spec.log.max_bad_rows == 0.05


def test_a_model_that_would_read_nothing_is_refused():
    unread, tastes = {"embed_ids": []}, {"name": "tastes", "source": "log", "kind": "map"}
    for features in ([], [tastes]):
        with pytest.raises(ValidationError, match=r"model\.embed_ids: got \[\], .* the model would read nothing"):
            events_spec(model=unread, features=features)
    hour = {"name": "hour", "source": "log", "derive": "hour_of_day"}
    for read in ({"features": [hour]}, {"behaviours": [{"name": "bought", "event": "BOUGHT"}]}, {"model": {}}):
        assert events_spec(**{"model": unread, **read})


def test_a_feature_reads_the_column_of_its_name_unless_told():
    assert Feature(name="tab", source="log", kind="categorical").source_column == "tab"
    assert Feature(name="tab", source="log", kind="categorical", column="page").source_column == "page"


def test_features_share_a_vocabulary_by_naming_it():
    assert Feature(name="tab", source="log", kind="categorical").vocabulary_name == "tab"
    assert Feature(name="tab", source="log", kind="categorical", vocabulary="page").vocabulary_name == "page"


@pytest.mark.parametrize(
    ("given", "comparison"),
    [
        ({}, None),
        ({"equals": "x"}, ("equals", "x")),
        ({"equals": False}, ("equals", False)),
        ({"equals": 0}, ("equals", 0)),
        ({"at_least": 0}, ("at_least", 0.0)),
        ({"below": -1.5}, ("below", -1.5)),
    ],
)
def test_a_condition_has_at_most_one_comparison(given, comparison):
    assert Condition(column="c", **given).comparison == comparison


def test_equals_keeps_its_type_through_json():
    for value in ("1", 1, 1.0, True):
        spec = RankingSpec.model_validate(impressions_with({"name": "buy", "column": "c", "equals": value}))
        back = RankingSpec.from_json(spec.to_json()).tasks[0].equals
        assert back == value
        assert type(back) is type(value)


def impressions_with(*tasks: dict) -> dict:
    log = {"layout": "impressions", "files": "*.csv", "user": "u", "item": "i", "timestamp": {"column": "t"}}
    return {"name": "shop", "log": log, "tasks": list(tasks)}


durations = st.builds(lambda n, unit: f"{n}{unit}", st.integers(1, 999), st.sampled_from("smhd"))
names = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
conditions = st.fixed_dictionaries({"column": st.text(min_size=1, max_size=5)}) | st.fixed_dictionaries(
    {"column": st.text(min_size=1, max_size=5), "at_least": st.floats(allow_nan=False, allow_infinity=False)}
)


@given(name=names, label=conditions, behaviour=conditions, delay=durations, share=st.floats(0.01, 0.4))
def test_json_gives_the_spec_back(name, label, behaviour, delay, share):
    declared = impressions_with({"name": name, "within": behaviour, **label}) | {
        "behaviours": [{"name": name, "delay": delay, **behaviour}],
        "split": {"eval": share, "test": share},
        "gates": {name: {"auc": 0.6}},
    }
    spec = RankingSpec.model_validate(declared)
    assert RankingSpec.from_json(spec.to_json()) == spec


def test_json_leaves_out_what_is_the_default():
    assert "split" not in events_spec().to_json()


def test_a_split_leaves_something_to_train_on():
    assert Split(eval=0.3, test=0.6).eval == 0.3
    with pytest.raises(ValidationError, match=r"got 0\.5 \+ 0\.5"):
        Split(eval=0.5, test=0.5)


@pytest.mark.parametrize("key", ["event", "impression", "attribution_window"])
def test_the_events_layout_needs_its_keys(key):
    without = {name: value for name, value in EVENTS["log"].items() if name != key}
    with pytest.raises(ValidationError, match=f"layout `events` needs `{key}`"):
        Log.model_validate(without)
    with pytest.raises(ValidationError, match="belongs to layout `events`, not to `impressions`"):
        Log.model_validate({**without, "layout": "impressions"})
