"""Why a served value differs, by hand: a request that is right, and one value of it changed."""

import copy
import json
from collections.abc import Callable
from datetime import date

import numpy as np
import pytest

from pipeline.online.consistency import reasons
from pipeline.online.consistency.comparison import Counts, compare, parts_of
from pipeline.online.consistency.reasons import Explainer, Reason
from pipeline.online.consistency.rebuild import Logs, Rebuilder
from pipeline.online.consistency.records import Served
from pipeline.online.gateway import StoreCompleting
from pipeline.online.materialize import materialize
from pipeline.online.updater import Updater
from schema.served import rank_inputs
from serving.gateway.completing import IdRequest
from serving.gateway.request_log import RequestLog
from serving.store.opening import open_store

THIRD = (date(2026, 1, 3) - date(1970, 1, 1)).days


@pytest.fixture(scope="module")
def right(days, tmp_path_factory) -> dict:
    """A record of the third day's end, which is what the logs say."""
    folder, store = tmp_path_factory.mktemp("right"), open_store("memory:")
    materialize(days.spec, str(days.logs), str(folder), store, date(2026, 1, 2))
    lines = [event.line for event in days.events if event.day == THIRD]
    Updater(days.spec, store).update(lines, day=THIRD)
    row = json.loads(lines[-1])
    request = IdRequest(row["user_id"], [row["video_id"], "new"], int(row["timestamp"]) + 1)
    done, log = StoreCompleting(days.spec, store).complete(request), RequestLog(folder / "requests", 1.0)
    log.add(request, done, done.inputs, None, lambda outcome: None)
    log.close()
    return json.loads((folder / "requests").read_text())


@pytest.fixture(scope="module")
def rebuilder(days) -> Rebuilder:
    return Rebuilder(Logs.read(days.spec, str(days.logs)))


@pytest.fixture
def explained(days, right, rebuilder) -> Callable[[Callable[[dict], None], str], tuple[str, Reason]]:
    """Returns a function of what changes the record's inputs and a column's or slot's name: the outcome, and why."""
    tensors, parts = (
        {tensor.name: tensor for tensor in rank_inputs(days.spec)},
        {part.name: part for part in parts_of(days.spec)},
    )

    def explain(change: Callable[[dict], None], name: str) -> tuple[str, Reason]:
        record = copy.deepcopy(right)
        change(record["inputs"])
        served = Served.of(days.spec, tensors, 1, json.dumps(record).encode())
        rebuilt, column = rebuilder.inputs_of(served), parts[name].column.name
        difference = compare(parts[name], served.inputs[column], rebuilt[column], Counts())
        assert difference is not None
        return difference.outcome, Explainer(rebuilder).explain(served, difference, rebuilt)

    return explain


def test_the_record_is_right(days, right, rebuilder):
    served = Served.of(
        days.spec, {tensor.name: tensor for tensor in rank_inputs(days.spec)}, 1, json.dumps(right).encode()
    )
    rebuilt, counts = rebuilder.inputs_of(served), Counts()
    for part in parts_of(days.spec):
        assert compare(part, served.inputs[part.column.name], rebuilt[part.column.name], counts) is None
    assert counts.different == 0
    assert len(right["inputs"]["watched_item_id"]) == 5


def edit_sequence(edit: Callable[[list, list], None]) -> Callable[[dict], None]:
    def change(inputs: dict) -> None:
        edit(inputs["watched_item_id"], inputs["watched_age_s"])

    return change


def test_the_newest_event_that_a_sequence_lacks_or_has_too_much_is_named(explained, right):
    items = right["inputs"]["watched_item_id"]

    def lose(ids: list, ages: list) -> None:
        ids[3:4], ages[3:4] = [], []
        ids[:0], ages[:0] = ["older"], [9e6]

    def add(ids: list, ages: list) -> None:
        ids[:], ages[:] = [*ids[1:], "ghost"], [*ages[1:], ages[-1] / 2]

    def reverse(ids: list, ages: list) -> None:
        ids.reverse()
        ages.reverse()

    _, why = explained(edit_sequence(lose), "watched_item_id")
    assert (why.name, repr(items[3]) in why.detail) == (reasons.LATE, True)
    _, why = explained(edit_sequence(add), "watched_age_s")
    assert (why.name, "'ghost'" in why.detail) == (reasons.UNLOGGED, True)
    outcome, why = explained(edit_sequence(reverse), "watched_item_id")
    assert (outcome, why.name, "order" in why.detail) == ("mismatch", reasons.UNEXPLAINED, True)
    outcome, why = explained(lambda inputs: inputs["watched_author"].__setitem__(0, "renamed"), "watched_author")
    assert why.name == reasons.GENERATION
    outcome, why = explained(edit_sequence(lambda ids, ages: (ids.clear(), ages.clear())), "watched_item_id")
    assert (outcome, why.name) == ("missing", reasons.LATE)


@pytest.mark.parametrize(
    ("slots", "by", "outcome", "name"),
    [
        (["impressions"], -1.0, "mismatch", reasons.LATE),
        (["impressions"], 1.0, "mismatch", reasons.UNLOGGED),
        (["like"], -1.0, None, reasons.LATE),
        (["like"], 1.0, None, reasons.UNLOGGED),
        # Fewer impressions say that rows are lacking, whatever else is more.
        (["like", "impressions"], (1.0, -1.0), None, reasons.LATE),
    ],
)
def test_a_sum_says_whether_rows_or_feedback_are_lacking(explained, days, right, slots, by, outcome, name):
    names = [part.name for part in parts_of(days.spec) if part.column.name == "author_statistics"]
    changes = dict(zip(slots, by if isinstance(by, tuple) else (by,), strict=True))

    def change(inputs: dict) -> None:
        for slot, difference in changes.items():
            inputs["author_statistics"][0][names.index(f"author.{slot}.lifetime")] += difference

    said, why = explained(change, f"author.{slots[0]}.lifetime")
    assert why.name == name
    assert outcome in (None, said)
    assert ("feedback (like)" in why.detail) == (slots == ["like"])


def test_an_age_says_which_side_has_the_later_event(explained, days, right):
    index = [part.name for part in parts_of(days.spec) if part.column.name == "author_statistics"].index(
        "author.impressions.age"
    )
    age = right["inputs"]["author_statistics"][0][index]
    assert age > 0
    for value, outcome, name in (
        (age + 60, "mismatch", reasons.LATE),
        (age - 60, "mismatch", reasons.UNLOGGED),
        (-1.0, "missing", reasons.LATE),
    ):

        def change(inputs: dict, value: float = value) -> None:
            inputs["author_statistics"][0][index] = value

        said, why = explained(change, "author.impressions.age")
        assert (said, why.name) == (outcome, name)


def test_features_of_the_last_row_the_tables_and_the_clock(explained, right):
    def put(name: str, value: object) -> Callable[[dict], None]:
        return lambda inputs: inputs.__setitem__(name, value)

    _, why = explained(put("tab", "elsewhere"), "tab")
    assert why.name == reasons.UNLOGGED
    _, why = explained(put("country", "XX"), "country")
    assert why.name == reasons.GENERATION
    _, why = explained(put("hour", "99"), "hour")
    assert why.name == reasons.UNEXPLAINED
    outcome, why = explained(put("category", ["__missing__", right["inputs"]["category"][1]]), "category")
    assert (outcome, why.name) == ("missing", reasons.GENERATION)


def test_a_missing_number_is_one_whatever_its_bits(days):
    part = next(candidate for candidate in parts_of(days.spec) if candidate.name == "duration_s")
    served, rebuilt = np.array([np.nan, 0.0], np.float32), np.array([-np.nan, -0.0], np.float32)
    counts = Counts()
    difference = compare(part, served, rebuilt, counts)
    assert (difference.place, counts.counts["equal"], counts.counts["mismatch"]) == (1, 1, 1)
