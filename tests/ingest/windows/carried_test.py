"""The examples of later days, made of what earlier days carry on, are those made of all rows."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.examples import ExampleBuilder
from ingest.formats import RawBatch
from ingest.rows import parse
from ingest.statistics.requests import with_start
from ingest.timeline import join
from ingest.windows.carried import carried, prepend_carried
from schema.spec import RankingSpec

# Days of ten seconds, and rows that come up to three seconds early or late.
DAY, LATE, T = 10, 3, 1_700_000_000

EVENTS = RankingSpec.model_validate(
    {
        "name": "articles",
        "log": {
            "layout": "events",
            "files": "*.csv",
            "user": "who",
            "item": "what",
            "timestamp": {"column": "at"},
            "event": "did",
            "impression": "VIEW",
            "attribution_window": "12s",
        },
        "behaviours": [
            {"name": "viewed", "event": "VIEW", "max_length": 3},
            {"name": "liked", "event": "LIKE", "max_length": 2, "delay": "4s"},
        ],
        "tasks": [{"name": "share", "event": "SHARE"}, {"name": "like", "event": "LIKE", "within": {"event": "SHARE"}}],
    }
)
IMPRESSIONS = RankingSpec.model_validate(
    {
        "name": "videos",
        "log": {
            "layout": "impressions",
            "files": "*.csv",
            "user": "who",
            "item": "what",
            "timestamp": {"column": "at"},
        },
        "features": [{"name": "tab", "source": "log", "kind": "categorical"}],
        "behaviours": [
            {"name": "viewed", "column": "did", "equals": "VIEW", "max_length": 2},
            {"name": "liked", "column": "did", "equals": "LIKE", "max_length": 3, "delay": "14s"},
        ],
        "tasks": [{"name": "like", "column": "did", "equals": "LIKE"}],
    }
)


def _requested(spec: RankingSpec, **request) -> RankingSpec:
    declared = spec.model_dump(mode="json", exclude_defaults=True)
    log = {**declared["log"], "request": request}
    return RankingSpec.model_validate({**declared, "log": log, "behaviours": []})


# A request spans days: by a pause longer than one, or than the late rows', and by a column, here that of the item.
# Without behaviours nothing is carried but what requests need.
REQUESTED = (_requested(EVENTS, gap="11s"), _requested(IMPRESSIONS, gap="6s"), _requested(IMPRESSIONS, column="what"))

# (day, seconds after its start, user, item, event)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 4),
        # Few moments, so that many rows are simultaneous.
        st.sampled_from([-LATE, -1, 0, 4, DAY - 1, DAY + LATE - 1]),
        st.sampled_from("uv"),
        st.sampled_from("abc"),
        st.sampled_from(["VIEW", "VIEW", "LIKE", "SHARE"]),
    ),
    min_size=1,
    max_size=40,
)


def _parsed(spec: RankingSpec, rows: list[tuple]) -> pa.Table:
    columns = {
        "who": pa.array([user for _, _, user, _, _ in rows], pa.string()),
        "what": pa.array([item for _, _, _, item, _ in rows], pa.string()),
        "at": pa.array([T + day * DAY + at for day, at, *_ in rows], pa.int64()),
        "did": pa.array([event for *_, event in rows], pa.string()),
        "tab": pa.array([str(at % 3) for _, at, *_ in rows], pa.string()),
    }
    table, bad, _ = parse(spec, "log", RawBatch("log", np.arange(len(rows)), columns))
    assert bad == []
    table = with_start(spec, table)
    return table.append_column("day", pa.array([day for day, *_ in rows], pa.int32()))


def _examples(spec: RankingSpec, rows: pa.Table, first: int) -> list[str]:
    lines = join(spec, rows)
    lines = lines.only(rows["day"].to_numpy()[lines.source[lines.impressions]] >= first)
    examples = pa.table(ExampleBuilder(spec, rows, lines)(np.arange(len(lines.impressions))))
    return sorted(map(repr, examples.to_pylist()))


def _with_day(rows: pa.Table, day: int) -> pa.Table:
    return rows.append_column("day", pa.array(np.full(rows.num_rows, day, np.int32)))


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from([EVENTS, IMPRESSIONS, *REQUESTED]))
def test_carried_rows_and_the_days_since_give_the_examples_of_all_rows(rows, spec):
    rows = sorted(rows, key=lambda row: row[0])
    state: pa.Table | None = None
    for day in range(1, 5):
        new = [row for row in rows if row[0] == day - 1]
        if new or state is not None:
            # A day's rows and what was carried before: never the earlier days themselves.
            so_far = prepend_carried(_parsed(spec, new) if new else None, state)
            state = _with_day(carried(spec, so_far, T + day * DAY - LATE), -1)
        window = [row for row in rows if row[0] >= day]
        if window:
            rows_with_carried = prepend_carried(_parsed(spec, window), state)
            assert _examples(spec, rows_with_carried, day) == _examples(spec, _parsed(spec, rows), day)


def test_what_is_carried_is_bounded_by_the_behaviours_and_not_by_the_days():
    rows = [(day, second, "u", "a", "VIEW") for day in range(50) for second in range(DAY)]
    assert carried(EVENTS, _parsed(EVENTS, rows), T + 50 * DAY - LATE).num_rows == LATE + 3
