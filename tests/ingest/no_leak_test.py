"""What must hold of any timeline: no example knows of anything at or after its own time."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from joined_rows import examples_of

from schema.columns import example_columns
from schema.spec import RankingSpec

T = 1_465_413_000
SPEC = RankingSpec.model_validate(
    {
        "name": "articles",
        "log": {
            "layout": "events",
            "files": "*.csv",
            "user": "user",
            "item": "item",
            "timestamp": {"column": "at"},
            "event": "event",
            "impression": "VIEW",
            "attribution_window": "4s",
        },
        "features": [{"name": "hour", "source": "log", "derive": "hour_of_day"}],
        "behaviours": [
            {"name": "viewed", "event": "VIEW", "max_length": 3},
            {"name": "liked", "event": "LIKE", "max_length": 2},
            {"name": "liked_late", "event": "LIKE", "delay": "2s"},
        ],
        "tasks": [{"name": "like", "event": "LIKE"}, {"name": "share", "event": "SHARE"}],
    }
)
KNOWN = [column.name for column in example_columns(SPEC) if column.role not in ("label", "space")]

# Few users, items and times, so that ties and duplicates are many.
event = st.tuples(
    st.sampled_from("uvw"), st.sampled_from("abc"), st.integers(0, 12), st.sampled_from(["VIEW", "LIKE", "SHARE"])
)
logs = st.lists(event, max_size=30)


def _examples(rows: list[tuple], columns: list[str]) -> list[tuple]:
    if not rows:
        return []
    user, item, at, name = zip(*rows, strict=True)
    log = pa.table({"user": user, "item": item, "at": [T + seconds for seconds in at], "event": name})
    examples, bad = examples_of(SPEC, log)
    assert bad == []
    return sorted(tuple(map(repr, row.values())) for row in examples.select(columns).to_pylist())


def _before(rows: list[tuple], moment: int) -> list[tuple]:
    return [row for row in rows if row[2] < moment]


@settings(max_examples=150, deadline=None)
@given(past=logs, one=logs, other=logs, moment=st.integers(1, 12))
def test_features_do_not_change_with_what_happens_at_or_after_the_impression(past, one, other, moment):
    past = _before(past, moment)
    impressions = [("u", "a", moment, "VIEW"), ("v", "b", moment, "VIEW")]
    example_lists = []
    for future in (one, other):
        future = [row for row in future if row[2] >= moment and row not in impressions]
        example_lists.append(_examples([*future, *impressions, *past], KNOWN))
    mine = [
        [row for row in rows if row[:3] in {(repr(u), repr(i), repr(T + t)) for u, i, t, _ in impressions}]
        for rows in example_lists
    ]
    assert mine[0] == mine[1]
    assert len(mine[0]) == 2


@settings(max_examples=100, deadline=None)
@given(rows=logs, data=st.data())
def test_examples_do_not_depend_on_the_order_of_the_log(rows, data):
    shuffled = data.draw(st.permutations(rows))
    every = [column.name for column in example_columns(SPEC)]
    assert _examples(rows, every) == _examples(shuffled, every)


@settings(max_examples=100, deadline=None)
@given(rows=logs)
def test_examples_equal_a_plain_reading_of_the_definition(rows):
    expected = []
    views = [row for row in rows if row[3] == "VIEW"]
    owed = [dict.fromkeys(("LIKE", "SHARE"), 0.0) for _ in views]
    for user, item, at, name in rows:
        before = [i for i, view in enumerate(views) if view[:2] == (user, item) and at - 4 <= view[2] < at]
        if name != "VIEW" and before:
            last = max(before, key=lambda i: (views[i][2], i))
            owed[last][name] = 1.0
    for (user, item, at, _), labels in zip(views, owed, strict=True):
        example = {"user_id": user, "item_id": item, "timestamp": T + at, "hour": str((T + at) // 3600 % 24)}
        for name, event_name, delay, most in (
            ("viewed", "VIEW", 0, 3),
            ("liked", "LIKE", 0, 2),
            ("liked_late", "LIKE", 2, 50),
        ):
            behaviour = sorted((t, i) for u, i, t, e in rows if (u, e) == (user, event_name) and t + delay < at)[-most:]
            example[f"{name}_item_id"] = [i for _, i in behaviour]
            example[f"{name}_age_s"] = [float(at - t) for t, _ in behaviour]
        example |= {"label_like": labels["LIKE"], "space_like": 1.0, "label_share": labels["SHARE"], "space_share": 1.0}
        expected.append(tuple(map(repr, example.values())))
    assert _examples(rows, [column.name for column in example_columns(SPEC)]) == sorted(expected)
