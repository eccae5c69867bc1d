"""What a completer remembers of earlier requests is never told in place of what the store holds now."""

import json
from datetime import date

import numpy as np
import pytest
from examples_in_memory import plain
from hypothesis import given
from hypothesis import strategies as st

from pipeline.online import generations
from pipeline.online.cache import Recent
from pipeline.online.completion import Completer
from pipeline.online.generations import Updates
from pipeline.online.growing import Rows
from pipeline.online.materialize import materialize
from pipeline.online.updater import Updater
from serving.store.memory import MemoryStore

HOUR_MS = 3_600_000
THIRD = (date(2026, 1, 3) - date(1970, 1, 1)).days


@pytest.fixture(scope="module")
def base(days, tmp_path_factory):
    """The store at the end of the second day: values and marks."""
    store = MemoryStore()
    materialize(days.spec, str(days.logs), str(tmp_path_factory.mktemp("base")), store, date(2026, 1, 2))
    return store._values, store._marks


@pytest.fixture
def based(base):
    store = MemoryStore()
    store._values, store._marks = dict(base[0]), dict(base[1])
    return store


def sides(done) -> dict:
    """Returns both sides as values that can be compared."""
    user = {name: plain(value) for name, value in done.user.items()}
    return {**user, **{name: plain(list(value)) for name, value in done.candidates.items()}}


def requests(days, at: int) -> list[tuple]:
    users = sorted({example["user_id"] for example in days.examples})[:3]
    items = sorted({example["item_id"] for example in days.examples})
    return [(user, [*items[index : index + 40], "new"], at) for index, user in enumerate([*users, "nobody"])]


def test_a_completer_that_has_answered_before_answers_as_a_fresh_one(days, based):
    """Events come late (of an hour that has been answered of), in time, and twice; users and items repeat."""
    updater, completer = Updater(days.spec, based), Completer(days.spec, based)
    of_day = [event for event in days.events if event.day == THIRD]
    start = THIRD * 86_400_000
    early, late = of_day[::2], of_day[1::2]
    for hour in (9, 10, 18):
        at = start + hour * HOUR_MS
        for batch in ([event for event in early if event.time < at], [event for event in late if event.time < at]):
            updater.update([event.line for event in batch], day=THIRD)
            for request in requests(days, at):
                assert sides(completer.complete(*request)) == sides(Completer(days.spec, based).complete(*request))


def test_events_after_an_edge_leave_its_answers_as_they_are(days, based):
    """What was read for a key is read again only when an event from before the edge has come."""
    completer, updater = Completer(days.spec, based), Updater(days.spec, based)
    at = THIRD * 86_400_000 + 12 * HOUR_MS
    row = json.loads(days.events[0].line)
    (request, *_) = requests(days, at)
    completer.complete(*request)
    read: list[bytes] = []
    original = based.read
    based.read = lambda keys: read.extend(keys) or original(keys)

    def keys_of_statistics() -> int:
        read.clear()
        completer.complete(*request)
        return sum(b"/author/" in key for key in read)

    # Feedback is known after 90 minutes.
    updater.update([json.dumps({**row, "timestamp": at}).encode()], day=THIRD)
    assert keys_of_statistics() == 0
    updater.update([json.dumps({**row, "timestamp": at - 4 * HOUR_MS}).encode()], day=THIRD)
    assert keys_of_statistics() > 0
    assert keys_of_statistics() == 0


def test_a_generation_that_comes_between_two_reads_loses_no_events(days, based, tmp_path):
    """The tails of days that it holds are gone from the updates that are written with it."""
    updater = Updater(days.spec, based)
    of_day = [event for event in days.events if event.day == THIRD]
    updater.update([event.line for event in of_day], day=THIRD)
    request = requests(days, (THIRD + 1) * 86_400_000 + 2 * HOUR_MS)[0]
    expected = sides(Completer(days.spec, based).complete(*request))
    original, swapped = based.mark, []

    def mark(name: str) -> bytes | None:
        value = original(name)
        if not swapped:
            swapped.append(name)
            materialize(days.spec, str(days.logs), str(tmp_path), based, date(2026, 1, 3))
        return value

    completer = Completer(days.spec, based)
    based.mark = mark
    assert sides(completer.complete(*request)) == expected
    assert generations.current(based, completer.generation().digest).until == THIRD


@given(
    batches=st.lists(st.none() | st.lists(st.integers(0, 50), max_size=3), max_size=90),
    since=st.integers(0, 90),
    ticks=st.integers(0, 51),
)
def test_updates_know_whether_a_row_from_before_a_time_has_come(batches, since, ticks):
    """None is the end of days, of which nothing is known then."""
    updates = Updates()
    for times in batches:
        updates = updates.without(0) if times is None else updates.with_batch(np.array(times, np.int64), [1], 0.0, 1)
    updates = Updates.from_json(updates.to_json())
    later = batches[since:]
    is_changed = any(times is None or min(times, default=99) < ticks for times in later)
    assert not (updates.are_since(since, ticks) and is_changed)
    if len(later) < 60 and not is_changed and None not in batches:
        assert updates.are_since(since, ticks)


def test_updates_in_the_order_of_time_are_forgotten_from_the_oldest():
    updates = Updates()
    for number in range(200):
        updates = updates.with_batch(np.array([number]), [], 0.0, 1)
    assert len(updates.earliest) < 100
    assert updates.are_since(150, 150)
    assert not updates.are_since(150, 151)
    assert not updates.are_since(1, 0)
    assert not updates.with_batch(np.array([3]), [], 0.0, 1).are_since(150, 150)


def test_rows_grow_and_arrays_that_were_handed_out_stay():
    rows = Rows(np.int64, (2,))
    rows.append(np.ones((10, 2)))
    before = rows.array[:10]
    for number in range(30):
        rows.append(np.full((5, 2), number))
    assert len(rows) == 160
    assert (before == 1).all()
    assert rows.array[10:160:5, 0].tolist() == list(range(30))


def test_the_value_that_was_asked_for_longest_ago_goes_first():
    recent: Recent[int] = Recent(2)
    recent.add("a", 1)
    recent.add("b", 2)
    assert recent.get("a") == 1
    recent.add("c", 3)
    assert [recent.get(key) for key in "abc"] == [1, None, 3]
