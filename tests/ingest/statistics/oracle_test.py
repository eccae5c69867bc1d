"""Statistics equal their definition, to the bit: random logs against plain Python."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joined_rows import examples_of
from statistics_oracle import oracle, request_time

from ingest.statistics.decay import decay
from ingest.statistics.fold import Fold, Spans
from ingest.statistics.tiles import tiles_of
from schema.spec import RankingSpec

T = 1_465_412_400  # a multiple of an hour
MINUTE = 60

IMPRESSIONS = {
    "name": "videos",
    "log": {
        "layout": "impressions",
        "files": "*.csv",
        "user": "user",
        "item": "item",
        "timestamp": {"column": "at"},
    },
    "items": {"files": "items.csv", "key": "id"},
    "users": {"files": "users.csv", "key": "id"},
    "features": [
        {"name": "tab", "source": "log", "kind": "categorical"},
        {"name": "hour", "source": "log", "derive": "hour_of_day"},
        {"name": "author", "source": "items", "kind": "categorical"},
        {"name": "country", "source": "users", "kind": "categorical"},
    ],
    "tasks": [
        {"name": "click", "column": "click"},
        {"name": "part", "ratio": {"numerator": "ms", "denominator": "total"}, "within": {"column": "click"}},
        {"name": "like", "column": "like", "within": {"column": "seen", "equals": 1}},
    ],
}
BY = [
    "item",
    {"keys": "author", "windows": ["1m", "3m"], "age": True, "half_lives": ["1m", "7m"]},
    ["user", "tab"],
    {"keys": ["country", "user", "author"], "expire": "2m", "age": True, "windows": ["4m"], "delay": "0s"},
    {"keys": ["tab", "hour"], "lifetime": False, "granularity": "2m", "of": ["like"], "delay": "61s"},
]
MEASURES = [{"name": "skip", "column": "ms", "below": 400}, {"name": "play", "sum": "ms"}]
AUTHORS, COUNTRIES = {"a": "ann", "b": "ann", "c": "bob"}, {"u": "FR", "v": "BR"}

times = st.builds(lambda tile, tick: tile * MINUTE + tick, st.integers(0, 8), st.sampled_from([-1, 0, 0, 1, 30, 59]))
maybe = st.sampled_from(["0", "1", "1", ""])
impression = st.fixed_dictionaries(
    {
        "user": st.sampled_from("uvw"),
        "item": st.sampled_from("abcd"),
        "at": times,
        "tab": st.sampled_from(["home", "", "deep"]),
        "click": maybe,
        "like": maybe,
        "seen": maybe,
        "ms": st.sampled_from(["0", "333", "1000", "77.7", ""]),
        "total": st.sampled_from(["1000", "0", "999"]),
        "request": st.sampled_from(["r", "s", ""]),
    }
)
requests = st.sampled_from([None, {"column": "request"}, {"gap": "90s"}])
delays = st.sampled_from(["0s", "59s", "60s", "61s", "5m"])


def _spec(base: dict, delay: str, request: dict | None, by: list, measures: list) -> RankingSpec:
    statistics = {"by": by, "delay": delay, "granularity": "1m", "half_lives": ["5m"], "measures": measures}
    log = base["log"] if request is None else {**base["log"], "request": request}
    return RankingSpec.model_validate({**base, "log": log, "statistics": statistics})


def _vectors(spec: RankingSpec, log: list[dict], tables: dict | None = None) -> list[str]:
    """Each impression's user, item, time and vectors, sorted."""
    table = pa.Table.from_pylist([{**row, "at": str(T + row["at"])} for row in log])
    examples, bad = examples_of(spec, table, **(tables or {}))
    assert bad == []
    names = [name for name in examples.column_names if name.endswith("_statistics")]
    assert names
    return sorted(
        repr([row[name] for name in ("user_id", "item_id", "timestamp", *names)]) for row in examples.to_pylist()
    )


TABLES = {
    "items": pa.table({"id": list(AUTHORS), "author": list(AUTHORS.values())}),
    "users": pa.table({"id": list(COUNTRIES), "country": list(COUNTRIES.values())}),
}


def _impression_row(row: dict) -> dict:
    clicked, ms = row["click"] == "1", float(row["ms"] or "nan")
    ratio = min(ms / float(row["total"]), 1.0) if clicked and row["total"] != "0" and row["ms"] else 0.0
    adds = {
        "impressions": 1,
        "click": int(clicked),
        "part": round(float(pa.scalar(ratio, pa.float32()).as_py()) * 2**20),
        "like": int(row["like"] == "1" and row["seen"] == "1"),
        "within_seen_equals_1": int(row["seen"] == "1"),
        "skip": int(ms < 400),
        "play": round(ms * 2**10) if row["ms"] else 0,
    }
    keys = {
        "user": row["user"],
        "item": row["item"],
        "tab": row["tab"] or None,
        "hour": (T + row["at"]) // 3600 % 24,
        "author": AUTHORS.get(row["item"]),
        "country": COUNTRIES.get(row["user"]),
    }
    return {"time": T + row["at"], "user": row["user"], "request": row["request"] or None, "keys": keys, "adds": adds}


@settings(max_examples=150, deadline=None)
@given(log=st.lists(impression, min_size=1, max_size=30), delay=delays, request=requests)
def test_statistics_of_impressions_equal_their_definition(log, delay, request):
    spec = _spec(IMPRESSIONS, delay, request, BY, MEASURES)
    expected = oracle(spec, [_impression_row(row) for row in log])
    expected_rows = [
        repr([row["user"], row["item"], T + row["at"], *vectors.values()])
        for row, vectors in zip(log, expected, strict=True)
    ]
    assert _vectors(spec, log, TABLES) == sorted(expected_rows)


EVENTS = {
    "name": "articles",
    "log": {
        "layout": "events",
        "files": "*.csv",
        "user": "user",
        "item": "item",
        "timestamp": {"column": "at"},
        "event": "event",
        "impression": "VIEW",
        "attribution_window": "1m",
    },
    "features": [{"name": "tab", "source": "log", "kind": "categorical"}],
    "tasks": [
        {"name": "like", "event": "LIKE", "within": {"event": "OPEN"}},
        {"name": "share", "event": "SHARE", "within": {"event": "LIKE"}},
        {"name": "open_it", "event": "OPEN", "within": {"event": "VIEW"}},
    ],
}
EVENTS_BY = ["item", {"keys": ["user", "tab"], "age": True, "windows": ["2m"]}, {"keys": "tab", "of": ["like"]}]
event = st.fixed_dictionaries(
    {
        "user": st.sampled_from("uv"),
        "item": st.sampled_from("abc"),
        "at": times,
        "tab": st.sampled_from(["home", "", "deep"]),
        "event": st.sampled_from(["VIEW", "VIEW", "LIKE", "SHARE", "OPEN", "HIDE"]),
        "request": st.sampled_from(["r", "s", ""]),
    }
)


def _event_row(row: dict) -> dict:
    names = {"impressions": "VIEW", "like": "LIKE", "share": "SHARE", "open_it": "OPEN", "hide": "HIDE"}
    names["within_OPEN"] = "OPEN"
    keys = {"user": row["user"], "item": row["item"], "tab": row["tab"] or None}
    adds = {name: int(row["event"] == event_name) for name, event_name in names.items()}
    return {"time": T + row["at"], "user": row["user"], "request": row["request"] or None, "keys": keys, "adds": adds}


@settings(max_examples=100, deadline=None)
@given(log=st.lists(event, min_size=1, max_size=30), delay=delays, request=requests)
def test_statistics_of_events_equal_their_definition(log, delay, request):
    spec = _spec(EVENTS, delay, request, EVENTS_BY, [{"name": "hide", "event": "HIDE"}])
    expected = oracle(spec, [_event_row(row) for row in log])
    views = [row for row in log if row["event"] == "VIEW"]
    expected_rows = [
        repr([row["user"], row["item"], T + row["at"], *vectors.values()])
        for row, vectors in zip(views, expected, strict=True)
    ]
    assert (_vectors(spec, log) if views else []) == sorted(expected_rows)


def _starts(base: dict, log: list[dict], request: dict, scale: int) -> list[str]:
    """Each impression's user, item, time and request's start, where seconds are `scale` apart."""
    spec = RankingSpec.model_validate({**base, "log": {**base["log"], "request": request}})
    table = pa.Table.from_pylist([{**row, "at": str(T + scale * row["at"])} for row in log])
    examples, _ = examples_of(spec, table, **(TABLES if base is IMPRESSIONS else {}))
    names = ["user_id", "item_id", "timestamp", "request_start"]
    return sorted(repr([row[name] for name in names]) for row in examples.to_pylist())


def test_no_request_is_older_than_a_day():
    log = [{"user": "u", "item": "a", "at": 72_000 * i, "tab": "", "event": "VIEW", "request": "r"} for i in range(3)]
    starts = [T, T, T + 2 * 72_000 - 86_400]
    expected = [["u", "a", T + row["at"], start] for row, start in zip(log, starts, strict=True)]
    assert _starts(EVENTS, log, {"column": "request"}, 1) == sorted(map(repr, expected))


# Minutes, and hours, of which more than a day may lie between.
@pytest.mark.parametrize("scale", [1, 500])
@settings(max_examples=60, deadline=None)
@given(log=st.lists(event, min_size=1, max_size=30), request=requests.filter(bool), events=st.booleans())
def test_examples_hold_the_start_of_their_request(log, request, events, scale):
    base, opens = (EVENTS, "VIEW") if events else (IMPRESSIONS, None)
    if not events:
        log = [{**row, **dict.fromkeys(("click", "like", "seen", "ms", "total"), "1")} for row in log]
    spec = RankingSpec.model_validate({**base, "log": {**base["log"], "request": request}})
    rows = [
        {**row, "time": T + scale * row["at"], "request": row["request"] or None, "adds": {"impressions": 1}}
        for row in log
        if row["event"] == opens or not events
    ]
    expected = [[row["user"], row["item"], row["time"], request_time(spec, rows, row)] for row in rows]
    if rows:
        assert _starts(base, log, request, scale) == sorted(map(repr, expected))


@settings(max_examples=60, deadline=None)
@given(log=st.lists(impression, min_size=1, max_size=25), data=st.data(), request=requests)
def test_no_row_at_or_after_the_edge_matters(log, data, request):
    spec = _spec(IMPRESSIONS, "1m", request, BY, MEASURES)
    last = max(log, key=lambda row: row["at"])
    # With requests the state is older still: no row that close to the impression matters in any case.
    edge = last["at"] // MINUTE * MINUTE
    late = [row for row in log if row["at"] >= edge and row is not last]
    feedback = dict.fromkeys(("click", "like", "seen"), "1") | {"ms": "900"}
    changed = [{**row, **feedback} if data.draw(st.booleans()) else row for row in late]
    rest = [row for row in log if row["at"] < edge]

    def of_last(rows: list[dict]) -> set[str]:
        mine = repr([last["user"], last["item"], T + last["at"]])[:-1]
        return {line for line in _vectors(spec, rows, TABLES) if line.startswith(mine)}

    if request is None:
        assert of_last([*rest, last]) <= of_last([*rest, last, *changed])
    else:
        assert of_last([*rest, *late, last]) == of_last([*rest, *changed, {**last, **feedback}])


@settings(max_examples=60, deadline=None)
@given(log=st.lists(impression, min_size=1, max_size=25), data=st.data())
def test_statistics_do_not_depend_on_the_order_of_the_log(log, data):
    spec = _spec(IMPRESSIONS, "0s", {"column": "request"}, BY, MEASURES)
    assert _vectors(spec, log, TABLES) == _vectors(spec, data.draw(st.permutations(log)), TABLES)


def test_all_impressions_of_a_request_see_the_state_before_its_first():
    row = {"user": "u", "item": "a", "tab": "home", "click": "1", "like": "1", "seen": "1", "ms": "1", "total": "1"}
    log = [{**row, "at": at, "request": request} for at, request in ((0, "r"), (70, "s"), (150, "s"), (200, "t"))]
    spec = _spec(IMPRESSIONS, "0s", {"column": "request"}, [{"keys": "user", "of": ["like"], "half_lives": []}], [])
    vectors = {
        line[line.index("[[") :] if "[[" in line else line.split(", ", 3)[3] for line in _vectors(spec, log, TABLES)
    }
    # Likes and impressions: none before r, one (r) before s, three before t.
    assert vectors == {"[0.0, 0.0, 0.0]]", "[1.0, 1.0, 1.0]]", "[3.0, 3.0, 3.0]]"}


@pytest.mark.parametrize("keys", [200, 3, 1])
def test_a_long_life_is_folded_as_many_short_ones(keys):
    random = np.random.default_rng(keys)
    key, tile = random.integers(0, keys, 3_000), random.integers(0, 2_000, 3_000)
    tiles = tiles_of(key, tile, random.integers(0, 3, (3_000, 2)), None, False)
    fold = Fold(tiles, Spans(60, (4_000, 86_400), (), True, None))
    for number, half_life in enumerate((4_000, 86_400)):
        last = np.zeros(2)
        for row in range(len(tiles)):
            new = row == 0 or tiles.key[row] != tiles.key[row - 1]
            step = np.array([0 if new else tiles.tile[row] - tiles.tile[row - 1]])
            last = tiles.total[row] + (0 if new else 1) * last * decay(step, 60, half_life)
            assert (fold.decayed[number][row] == last).all()
