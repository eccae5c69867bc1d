"""What the gateway asks the model is what the logs would tell, whatever the request has itself."""

import json
import time

import numpy as np
import pytest
from tiny_logs import START

from ingest.rank_request import RequestLogs
from pipeline.online.gateway import StoreCompleting
from pipeline.online.materialize import materialize
from schema.loading import load_spec
from serving.gateway.completing import IdRequest, IdRequestError
from serving.requests import rank_request
from serving.store.memory import MemoryStore
from serving.store.protocol import StoreError, StoreUnavailableError

AT = 1_767_225_600_000 + 4 * 86_400_000 + 3_600_000


@pytest.fixture(scope="module")
def logs(days) -> RequestLogs:
    return RequestLogs.read(days.spec, str(days.logs), at=AT)


def same(inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert inputs.keys() == expected.keys()
    for name, value in expected.items():
        assert inputs[name].dtype == value.dtype
        np.testing.assert_array_equal(inputs[name], value, err_msg=name)


def test_inputs_are_those_of_the_logs_and_features_of_the_request_count_as_keys(days, logs, store, tmp_path):
    materialize(days.spec, str(days.logs), str(tmp_path), store)
    completing = StoreCompleting(days.spec, store)
    user, items = days.examples[0]["user_id"], [example["item_id"] for example in days.examples[:30]]
    for request_features, context in (({}, None), ({"tab": np.array(b"search", object)}, {"tab": "search"})):
        done = completing.complete(IdRequest(user, items, AT, request_features))
        sides = logs.user_columns(user, AT, context), logs.candidate_columns(items, user, AT, context)
        same(done.inputs, rank_request(days.spec, *sides))
        assert (done.unknown_user, done.unknown_items) == (False, 0)
    # A statistic waits for 90 minutes, a behaviour for 5.
    latest = max(event.time for event in days.events)
    for minutes, is_late in ((4, False), (6, True)):
        done = completing.complete(IdRequest("nobody", ["new", "newer"], latest + minutes * 60_000))
        assert (done.lag_seconds, done.is_late) == (minutes * 60, is_late)
        assert (done.unknown_user, done.unknown_items) == (True, 2)
    assert 0 <= completing.generation_age() < 600


def test_without_the_store_everybody_is_unknown(days, logs, store):
    completing = StoreCompleting(days.spec, store)
    with pytest.raises(StoreError):
        completing.complete(IdRequest("u1", ["v1"], AT))
    done = completing.without_store(IdRequest("nobody", ["new"], AT))
    empty = RequestLogs(
        days.spec,
        logs.log.slice(0, 0),
        *(type(logs.users).of(days.spec, source, None) for source in ("users", "items")),
    )
    sides = empty.user_columns("nobody", AT), empty.candidate_columns(["new"], "nobody", AT)
    same(done.inputs, rank_request(days.spec, *sides))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (IdRequest("", []), "user_id: the id is missing"),
        (IdRequest("u1", ["a", "b\0"]), "at place 1"),
        (IdRequest("u1", [], 5), "timestamp: got 5"),
        (IdRequest("u1", [], AT, {"tab": np.array(3.0)}), "input 'tab'"),
        (IdRequest("u1", [], AT, {"tab": np.array(b"\xff", object)}), "input 'tab'"),
    ],
)
def test_what_can_not_be_asked_is_refused(days, store, tmp_path, request_, reason):
    materialize(days.spec, str(days.logs), str(tmp_path), store)
    with pytest.raises(IdRequestError, match=reason):
        StoreCompleting(days.spec, store).complete(request_)


def test_events_are_counted_with_their_places(days, store, tmp_path):
    materialize(days.spec, str(days.logs), str(tmp_path), store)
    done = StoreCompleting(days.spec, store).count([b"{}", b"no json"])
    assert done.counted == 0
    assert [place for place, _ in done.rejected] == [0, 1]


def test_events_that_count_for_nothing_are_told(tiny, store, tmp_path):
    spec = load_spec(tiny[0])
    materialize(spec, str(tiny[1]), str(tmp_path), store)
    row = {"who": "ann", "what": "a1", "at": START + 7_000, "did": "VIEW", "country": "BR", "battery": "0.5"}
    next_day = START + 86_400
    rows = [row, {**row, "at": next_day, "did": "HIDE"}, {**row, "at": next_day}, {**row, "who": ""}]
    done = StoreCompleting(spec, store).count([json.dumps(row).encode() for row in rows])
    assert (done.counted, done.settled, done.unused, [place for place, _ in done.rejected]) == (1, 1, 1, [3])


class Slow(MemoryStore):
    """A store that takes a while for each call."""

    seconds, calls = 0.0, 0

    def read(self, keys):
        self.calls += 1
        time.sleep(self.seconds)
        return super().read(keys)

    def mark(self, name):
        self.calls += 1
        time.sleep(self.seconds)
        return super().mark(name)


def test_a_request_waits_for_the_store_no_longer_than_it_may(days, tmp_path):
    store = Slow()
    materialize(days.spec, str(days.logs), str(tmp_path), store)
    user, items = days.examples[0]["user_id"], [example["item_id"] for example in days.examples[:30]]
    completing = StoreCompleting(days.spec, store, seconds=0.4)
    store.seconds, store.calls = 0.15, 0
    with pytest.raises(StoreUnavailableError, match=r"has waited for it for 0\.4 s"):
        completing.complete(IdRequest(user, items, AT))
    assert store.calls == 3
    # The next request's time is its own, and what was read before is kept.
    store.seconds = 0.05
    assert not completing.complete(IdRequest(user, items, AT)).unknown_user
