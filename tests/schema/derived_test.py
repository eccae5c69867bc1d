"""What may be derived, and what is refused with its path."""

import pytest
from pydantic import ValidationError

from schema.columns import derived_columns, example_columns, input_columns, model_columns
from schema.served import RANK, signatures
from schema.spec import RankingSpec

FEATURES = [
    {"name": "tab", "source": "log", "kind": "categorical"},
    {"name": "hour", "source": "log", "derive": "hour_of_day"},
    {"name": "country", "source": "users", "kind": "categorical"},
    {"name": "tastes", "source": "users", "kind": "map"},
    {"name": "shops", "source": "users", "kind": "map", "values": "categorical"},
    {"name": "topic", "source": "items", "kind": "categorical"},
    {"name": "price", "source": "items", "kind": "numeric"},
    {"name": "length", "source": "items", "kind": "numeric", "scale": "buckets"},
    {"name": "tags", "source": "items", "kind": "multi", "vocabulary": "tag"},
    {"name": "favourite", "source": "items", "kind": "categorical", "vocabulary": "item_id"},
]


def spec(*derive, **more) -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "shop",
            "log": {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}},
            "users": {"files": "users*", "key": "u"},
            "items": {"files": "items*", "key": "i"},
            "features": FEATURES,
            "derive": derive,
            "behaviours": [{"name": "bought", "column": "buy"}],
            "tasks": [{"name": "buy", "column": "buy"}],
            **more,
        }
    )


CROSS = {"name": "x", "cross": ["country", "topic"]}
LOOK_UP = {"name": "x", "look_up": {"map": "tastes", "key": "topic"}}
CATEGORY = (
    "expected a categorical or derived feature, or a numeric one with `scale: buckets`: tab, hour, country, topic"
)


@pytest.mark.parametrize(
    ("derive", "line"),
    [
        ([{**CROSS, "cross": ["country", "nope"]}], f"derive[0].cross[1]: got 'nope', which is no feature; {CATEGORY}"),
        (
            [{**CROSS, "cross": ["user_id", "tab"]}],
            f"derive[0].cross[0]: got 'user_id', which is no feature; {CATEGORY}",
        ),
        (
            [{**CROSS, "cross": ["price", "tab"]}],
            f"derive[0].cross[0]: got 'price', which is numeric, without `scale: buckets`; {CATEGORY}",
        ),
        ([{**CROSS, "cross": ["tags", "tab"]}], f"derive[0].cross[0]: got 'tags', which is multi-valued; {CATEGORY}"),
        ([{**CROSS, "cross": ["tab", "tastes"]}], f"derive[0].cross[1]: got 'tastes', which is a map; {CATEGORY}"),
        ([{**CROSS, "cross": ["tab", "tab"]}], "derive[0].cross[1]: got 'tab' twice, expected another feature"),
        (
            [CROSS, {"name": "y", "cross": ["tab", "x"]}],
            f"derive[1].cross[1]: got 'x', which is no feature; {CATEGORY}",
        ),
        ([CROSS, CROSS], "derive[1].name: got 'x', which is derive[0]'s already"),
        ([{**CROSS, "name": "tab"}], "derive[0].name: got 'tab', which is features[0]'s already"),
        ([{**CROSS, "name": "tag"}], "derive[0].name: got 'tag', which is the vocabulary of features[8] already"),
        (
            [{**CROSS, "name": "item_id"}],
            "derive[0].name: got 'item_id', which is the vocabulary of features[9] already",
        ),
        ([{**CROSS, "name": "user_id"}], "derive[0].name: got 'user_id', which is a column of the examples already"),
        ([{**CROSS, "name": "bought_age_s"}], "derive[0].name: got 'bought_age_s', which is a column of the examples"),
        (
            [{"name": "x", "look_up": {"map": "tags", "key": "topic"}}],
            "derive[0].look_up.map: got 'tags', which is multi-valued; expected a map: tastes, shops",
        ),
        (
            [{"name": "x", "look_up": {"map": "tastes", "key": "tags"}}],
            f"derive[0].look_up.key: got 'tags', which is multi-valued; {CATEGORY}",
        ),
        (
            [{**CROSS, "scale": "log"}],
            "derive[0].scale: got 'log', which belongs to a look-up in a map of `values: num",
        ),
        (
            [{"name": "x", "look_up": {"map": "shops", "key": "topic"}, "scale": "log"}],
            "derive[0].scale: got 'log', which belongs to a look-up in a map of `values: numeric`",
        ),
        ([{"name": "x"}], "expected either `cross: [a, b]` or `look_up: {map: …, key: …}`"),
        ([{**CROSS, **LOOK_UP}], "expected either `cross: [a, b]` or `look_up: {map: …, key: …}`"),
        ([{**CROSS, "cross": ["tab"]}], "expected at least two features in `cross`, got ['tab']"),
        ([{**LOOK_UP, "buckets": 3}], "`buckets` belongs to `scale: buckets`"),
    ],
)
def test_what_cannot_be_derived_is_named_with_its_path(derive, line):
    with pytest.raises(ValidationError) as refused:
        spec(*derive)
    assert line in str(refused.value)


@pytest.mark.parametrize("made_of", [["tab", "hour"], ["country", "topic", "length"]])
def test_categories_of_any_source_are_crossed(made_of):
    (column,) = derived_columns(spec({"name": "x", "cross": made_of}))
    assert (column.name, column.dtype, column.vocabulary, column.kind) == ("x", "string", "x", "id")
    assert column.side == ("item" if "topic" in made_of else "user")


@pytest.mark.parametrize(
    ("derive", "kind"),
    [
        (LOOK_UP, "number"),
        ({**LOOK_UP, "scale": "buckets", "buckets": 3}, "buckets"),
        ({"name": "x", "look_up": {"map": "shops", "key": "tab"}}, "id"),
    ],
)
def test_a_look_up_is_what_the_map_holds(derive, kind):
    (column,) = derived_columns(spec(derive))
    assert (column.kind, column.side) == (kind, "user" if derive["look_up"]["key"] == "tab" else "item")


def test_the_ranker_reads_what_is_derived_and_requests_hold_what_it_is_made_of():
    declared = spec(CROSS, {"name": "y", "look_up": {"map": "tastes", "key": "favourite"}}, model={"embed_ids": []})
    read, sent = ({column.name for column in columns(declared)} for columns in (model_columns, input_columns))
    # A map is read by its look-up alone, and what shares the vocabulary of ids that aren't embedded is not read.
    assert read - sent == {"x", "y"}
    assert sent - read == {"tastes", "favourite"}
    assert sent < {column.name for column in example_columns(declared)}
    assert {tensor.name for tensor in signatures(declared)[RANK].inputs} == {*sent, "exponents"}


def test_a_derived_feature_of_texts_can_be_masked_in_training():
    training = spec(CROSS, training={"id_mask_features": ["x"]}).training
    assert training.id_mask_features == ("x",)
    with pytest.raises(ValidationError, match=r"id_mask_features\[0\]: got 'tastes'"):
        spec(CROSS, training={"id_mask_features": ["tastes"]})
