import pytest

from schema.columns import ExampleColumn, example_columns, label_name, model_columns, sequence_features, space_name
from schema.served import request_columns
from schema.spec import RankingSpec

DECLARED = {
    "name": "clips",
    "log": {"layout": "impressions", "files": "*.csv", "user": "u", "item": "i", "timestamp": {"column": "t"}},
    "users": {"files": "users.csv", "key": "u"},
    "items": {"files": "items.csv", "key": "i"},
    "features": [
        {"name": "tab", "source": "log", "kind": "categorical"},
        {"name": "hour", "source": "log", "derive": "hour_of_day"},
        {"name": "age", "source": "users", "kind": "numeric"},
        {"name": "topic", "source": "items", "kind": "categorical", "vocabulary": "topics"},
        {"name": "length", "source": "items", "kind": "numeric"},
        {"name": "tags", "source": "items", "kind": "multi", "vocabulary": "topics"},
        {"name": "embedding", "source": "items", "kind": "vector", "size": 4},
    ],
    "behaviours": [{"name": "liked", "column": "like"}],
    "tasks": [{"name": "like", "column": "like"}],
}


def spec(**more) -> RankingSpec:
    return RankingSpec.model_validate(DECLARED | more)


@pytest.fixture
def columns() -> dict[str, ExampleColumn]:
    return {column.name: column for column in example_columns(spec())}


def test_the_columns_come_in_a_fixed_order(columns):
    assert list(columns) == [
        "user_id",
        "item_id",
        "timestamp",
        "tab",
        "hour",
        "age",
        "topic",
        "length",
        "tags",
        "embedding",
        "liked_item_id",
        "liked_age_s",
        "liked_topic",
        "liked_length",
        "liked_embedding",
        "label_like",
        "space_like",
    ]


def test_only_lists_and_sequences_are_ragged(columns):
    assert {name for name, column in columns.items() if column.ragged} == {
        "tags",
        "liked_item_id",
        "liked_age_s",
        "liked_topic",
        "liked_length",
        "liked_embedding",
    }


def test_numbers_are_floats_and_time_is_an_integer(columns):
    floats = {
        "age",
        "length",
        "embedding",
        "liked_age_s",
        "liked_length",
        "liked_embedding",
        "label_like",
        "space_like",
    }
    assert {name for name, column in columns.items() if column.dtype == "float"} == floats
    assert {name for name, column in columns.items() if column.dtype == "int"} == {"timestamp"}


def test_an_item_has_one_vocabulary_wherever_it_stands(columns):
    assert columns["item_id"].vocabulary == columns["liked_item_id"].vocabulary == "item_id"
    assert {name for name, column in columns.items() if column.vocabulary == "topics"} == {
        "topic",
        "tags",
        "liked_topic",
    }


def test_numbers_have_no_vocabulary(columns):
    assert {column.vocabulary for column in columns.values() if column.dtype != "string"} == {None}


def test_the_past_is_on_the_users_side(columns):
    assert {name for name, column in columns.items() if column.side == "item"} == {
        "item_id",
        "topic",
        "length",
        "tags",
        "embedding",
    }
    assert {name for name, column in columns.items() if column.side == "target"} == {"label_like", "space_like"}


def test_where_the_log_tells_requests_their_start_is_a_column_that_no_request_holds():
    log = {**DECLARED["log"], "request": {"gap": "30m"}}
    names = [column.name for column in example_columns(spec(log=log))]
    assert [name for name in names if name != "request_start"] == [column.name for column in example_columns(spec())]
    (start,) = [column for column in example_columns(spec(log=log)) if column.name == "request_start"]
    assert (start.role, start.dtype, start.side) == ("request", "int", "target")
    assert "request_start" not in {column.name for column in model_columns(spec(log=log))}
    assert "request_start" not in {column.name for column in request_columns(spec(log=log))}
    # A feature may have the name where there are no requests.
    features = [*DECLARED["features"], {"name": "request_start", "source": "users", "kind": "numeric"}]
    assert example_columns(spec(features=features))
    with pytest.raises(ValueError, match="'request_start' would be written twice, as the request 'request_start'"):
        example_columns(spec(features=features, log=log))


def test_a_sequence_knows_its_behaviour_and_its_feature(columns):
    assert columns["liked_topic"].behaviour == "liked"
    assert columns["liked_topic"].feature == columns["topic"].feature
    assert columns["liked_item_id"].feature is None


def test_multi_valued_features_stay_out_of_sequences():
    assert [feature.name for feature in sequence_features(spec())] == ["topic", "length", "embedding"]


def test_a_vector_has_its_size_and_the_model_reads_one_number_more(columns):
    widths = {name: (column.width, column.model_width) for name, column in columns.items() if column.width}
    assert widths == {"embedding": (4, 5), "liked_embedding": (4, 5)}
    assert columns["liked_embedding"].layout == ("liked_embedding", "float", True, 4)


def test_a_column_says_what_is_missing_what_pads_it_and_how_it_is_compared(columns):
    nan = {name for name, column in columns.items() if column.missing != column.missing}
    assert nan == {"age", "length", "embedding", "liked_length", "liked_embedding"}
    assert {name: column.missing for name, column in columns.items() if isinstance(column.missing, str)} == {
        "tab": "__missing__",
        "topic": "__missing__",
        "liked_topic": "__missing__",
    }
    assert {column.padding for column in columns.values() if not column.ragged} == {None}
    assert [columns[name].padding for name in ("tags", "liked_age_s", "liked_embedding")] == [b"", 0.0, 0.0]
    assert columns["timestamp"].comparable is None
    shares = {name for name, column in columns.items() if column.comparable == "shares"}
    assert shares == {name for name, column in columns.items() if column.dtype == "string"}


def test_labels_and_spaces_are_named_after_the_task():
    task = spec().tasks[0]
    assert (label_name(task), space_name(task)) == ("label_like", "space_like")


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("user_id", "the id 'user_id'"),
        ("label_like", "the feature 'label_like'"),
        ("liked_topic", "the sequence of behaviour 'liked'"),
    ],
)
def test_two_parts_never_write_the_same_column(name, other):
    features = [*DECLARED["features"], {"name": name, "source": "users", "kind": "numeric"}]
    with pytest.raises(ValueError, match=f"example column '{name}' would be written twice.*{other}"):
        example_columns(spec(features=features))
