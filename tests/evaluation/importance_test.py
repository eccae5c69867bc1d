"""Importance of inputs to tasks, by a scorer whose truth is known."""

import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import mean_squared_error, roc_auc_score

from evaluation.importance import (
    FILE,
    Estimate,
    Importance,
    Input,
    importances,
    inputs_of,
    joined,
    other_rows,
    read,
    write,
)
from evaluation.plan import ListColumn, Plan, PlannedModel, PlannedTask
from evaluation.sampled_importance import column_entries
from evaluation.scored import ScoredRows
from schema.spec import RankingSpec

USERS, OF_EACH = 60, 30
ROWS = USERS * OF_EACH
COLUMNS = ("taste", "mood", "unread", "age")
TASKS = (
    PlannedTask("like", False, "label_like", "space_like"),
    PlannedTask("share", False, "label_share", "space_share"),
    PlannedTask("finish", True, "label_finish", "space_finish"),
)
PLAN = Plan(
    TASKS, (PlannedModel("candidate", "", frozenset(task.name for task in TASKS)),), (), {}, ListColumn("timestamp", 1)
)
INPUTS = [Input(name, "feature", (name,), name == "age") for name in COLUMNS]


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def score(serialized):
    taste, mood, _, age = np.frombuffer(b"".join(serialized)).reshape(-1, len(COLUMNS)).T
    # Mood speaks against a like, and the model takes it for one; share and its truth go by it.
    return {"like": sigmoid(taste + mood), "share": sigmoid(mood), "finish": sigmoid(age)}


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """(columns, rows)"""
    random = np.random.default_rng(1)
    return np.stack([*random.normal(size=(3, ROWS)), np.repeat(random.normal(size=USERS), OF_EACH)])


@pytest.fixture(scope="module")
def rows(values) -> ScoredRows:
    random = np.random.default_rng(2)
    taste, mood, _, age = values
    labels = [random.random(ROWS) < sigmoid(taste * 2 - mood), random.random(ROWS) < sigmoid(mood), sigmoid(age)]
    in_space = np.stack([np.ones(ROWS, bool), random.random(ROWS) < 0.5, np.ones(ROWS, bool)])
    users = np.repeat(np.arange(USERS), OF_EACH).astype(np.uint64)
    no_scores = np.zeros((0, 3, ROWS), np.float32)
    return ScoredRows(users, np.zeros(ROWS, np.int64), np.stack(labels).astype(np.float32), in_space, no_scores, {})


@pytest.fixture(scope="module")
def entries(values) -> dict[str, list[bytes]]:
    return {name: [value.tobytes() for value in column] for name, column in zip(COLUMNS, values, strict=True)}


@pytest.fixture(scope="module")
def measured(entries, rows):
    return importances(entries, rows, PLAN, INPUTS, score, "eval")


def of(all_importances, name: str) -> Importance:
    return next(importance for importance in all_importances.inputs if importance.name == name)


def test_an_input_helps_the_tasks_that_go_by_it_and_hurts_one_that_is_misled_by_it(measured):
    assert {name: (of(measured, name).helps(), of(measured, name).hurts()) for name in COLUMNS} == {
        "taste": (["like"], []),
        "mood": (["share"], ["like"]),
        "unread": ([], []),
        "age": (["finish"], []),
    }
    assert (measured.split, measured.examples, measured.users) == ("eval", ROWS, USERS)
    assert measured.metrics == {"like": "auc", "share": "auc", "finish": "mean_squared_error"}


def test_an_input_that_is_not_read_is_worth_exactly_nothing(measured):
    for loss in of(measured, "unread").losses.values():
        assert (loss.value, loss.low, loss.high) == (0.0, 0.0, 0.0)


def test_a_loss_is_that_of_the_metric_on_the_sample_space(measured, entries, rows):
    for number, permuted in enumerate(INPUTS):
        users = rows.users.astype(int)
        sources = other_rows(users, permuted.of_user, np.random.default_rng([ROWS, number]))
        before, after = (score(joined(entries, columns, sources)) for columns in ((), permuted.columns))
        for t, task in enumerate(TASKS):
            inside, label = rows.in_space[t], rows.labels[t][rows.in_space[t]]
            measure = mean_squared_error if task.regression else roc_auc_score
            values = [measure(label, outputs[task.name][inside]) for outputs in (before, after)]
            expected = (values[1] - values[0]) if task.regression else (values[0] - values[1])
            loss = of(measured, permuted.name).losses[task.name]
            assert loss.value == pytest.approx(expected, abs=1e-4)
            assert loss.low <= loss.value <= loss.high


def test_few_users_of_a_class_give_no_interval(entries, rows):
    rare = rows.labels.copy()
    rare[1] = 0
    rare[1, np.flatnonzero(rows.in_space[1])[:5]] = 1
    few = ScoredRows(rows.users, rows.lists, rare, rows.in_space, rows.scores, {})
    loss = importances(entries, few, PLAN, INPUTS[:1], score, "eval").inputs[0].losses["share"]
    assert loss.value is not None
    assert (loss.low, loss.high) == (None, None)


def test_a_users_values_come_from_one_other_user():
    users = np.array([2, 0, 0, 1, 2, 2, 1, 0, 3])
    for seed in range(20):
        sources = other_rows(users, True, np.random.default_rng(seed))
        pairs = set(zip(users.tolist(), users[sources].tolist(), strict=True))
        assert len(pairs) == 4
        assert all(user != source_user for user, source_user in pairs)
        assert {source_user for _, source_user in pairs} == {0, 1, 2, 3}


def test_all_else_is_permuted_over_all_rows():
    users = np.array([2, 0, 0, 1, 2, 2, 1, 0, 3])
    sources = other_rows(users, False, np.random.default_rng(1))
    assert sorted(sources.tolist()) == list(range(9))
    of_the_only_user = other_rows(np.zeros(3, int), True, np.random.default_rng(1))
    assert sorted(of_the_only_user.tolist()) == [0, 1, 2]


def test_columns_of_examples_are_exchanged_and_the_others_stay():
    records = []
    for number in range(3):
        example = tf.train.Example()
        example.features.feature["n"].float_list.value.extend([number] * number)
        example.features.feature["text"].bytes_list.value.append(b"t%d" % number)
        example.features.feature["label"].float_list.value.append(1.0)
        records.append(example.SerializeToString())
    parts = column_entries(records, {"n", "text", "absent"})
    for permuted, order in (((), [0, 1, 2]), (("n",), [2, 0, 1])):
        examples = [tf.train.Example.FromString(record) for record in joined(parts, permuted, np.array([2, 0, 1]))]
        features = [example.features.feature for example in examples]
        assert [len(feature["n"].float_list.value) for feature in features] == order
        assert [feature["text"].bytes_list.value[0] for feature in features] == [b"t0", b"t1", b"t2"]
        assert all("label" not in feature for feature in features)


def test_the_inputs_are_what_the_model_reads():
    spec = RankingSpec.model_validate(
        {
            "name": "shop",
            "log": {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}},
            "users": {"files": "users.csv", "key": "u"},
            "items": {"files": "items.csv", "key": "i"},
            "features": [
                {"name": "tab", "source": "log", "kind": "categorical"},
                {"name": "country", "source": "users", "kind": "categorical"},
                {"name": "author", "source": "items", "kind": "categorical"},
            ],
            "behaviours": [{"name": "bought", "column": "bought"}],
            "tasks": [{"name": "buy", "column": "bought"}],
            "statistics": {"by": ["item", "user", ["user", "author"]]},
            "model": {"embed_ids": ["item_id"]},
        }
    )
    assert [
        (model_input.name, model_input.kind, model_input.columns, model_input.of_user)
        for model_input in inputs_of(spec)
    ] == [
        ("item_id", "id", ("item_id",), False),
        ("tab", "feature", ("tab",), False),
        ("country", "feature", ("country",), True),
        ("author", "feature", ("author",), False),
        ("bought", "behaviour", ("bought_item_id", "bought_age_s", "bought_author"), True),
        ("item", "statistic", ("item_statistics",), False),
        ("user", "statistic", ("user_statistics",), True),
        ("user_author", "statistic", ("user_author_statistics",), False),
    ]


def test_importances_are_read_as_they_were_written(measured, tmp_path):
    assert read(str(tmp_path)) is None
    write(measured, str(tmp_path))
    assert read(str(tmp_path)) == measured


def test_importances_that_an_earlier_version_wrote_tell_no_seconds(measured, tmp_path):
    write(measured, str(tmp_path))
    file = tmp_path / FILE
    earlier = {name: value for name, value in json.loads(file.read_text()).items() if name != "seconds"}
    file.write_text(json.dumps(earlier))
    assert read(str(tmp_path)) == measured


def test_what_has_no_interval_neither_helps_nor_hurts():
    importance = Importance("x", "feature", {"like": Estimate(0.5), "share": Estimate(None, None, None)})
    assert (importance.helps(), importance.hurts()) == ([], [])
