"""Of two `materialize` at once one writes the next generation, and no reader gets half of either."""

from datetime import date

import pytest

from ingest.errors import IngestError
from pipeline.online import generations
from pipeline.online import materialize as module
from pipeline.online.completion import Completer
from pipeline.online.generations import digest_of
from pipeline.online.materialize import materialize
from pipeline.online.turn import OvertakenError
from pipeline.runners.run_lock import only_run
from serving.store.opening import open_store

FIRST, SECOND, THIRD = (date(2026, 1, day) for day in (1, 2, 3))
AT = 1_767_225_600_000 + 3 * 86_400_000


@pytest.fixture(autouse=True)
def small_writes(monkeypatch):
    monkeypatch.setattr(module, "_VALUES_A_WRITE", 30)


def interrupted(monkeypatch, store, at: int, between) -> list[int]:
    """Calls `between` before the n-th write from now on; returns a list that gets an element for each write."""
    write, writes = store.write, []

    def write_later(*arguments):
        writes.append(len(arguments[0]))
        if len(writes) == at:
            between()
        write(*arguments)

    monkeypatch.setattr(store, "write", write_later)
    return writes


def prefixes(store) -> set[bytes]:
    return {key.split(b"/")[0] for key in store._values}


@pytest.fixture(scope="module")
def writes_of_a_day(days, tmp_path_factory) -> int:
    store = open_store("memory:")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(module, "_VALUES_A_WRITE", 30)
        writes = interrupted(monkeypatch, store, 0, None)
        materialize(days.spec, str(days.logs), str(tmp_path_factory.mktemp("calm")), store, THIRD)
    # Taking the turn, several batches of values, a step, the manifest, and the flip.
    assert len(writes) > 6
    return len(writes)


@pytest.mark.parametrize("where", ["its begin", "its first values", "its flip"])
@pytest.mark.parametrize("other", [SECOND, THIRD], ids=["another day", "the same day"])
def test_one_that_was_overtaken_ends_and_leaves_the_others_generation_whole(
    days, tmp_path, monkeypatch, writes_of_a_day, other, where
):
    store = open_store("memory:")
    materialize(days.spec, str(days.logs), str(tmp_path / "first"), store, FIRST)
    at = {"its begin": 1, "its first values": 2, "its flip": writes_of_a_day}[where]
    done = []

    def overtake():
        done.append(materialize(days.spec, str(days.logs), str(tmp_path / "b"), store, other).generation)

    interrupted(monkeypatch, store, at, overtake)
    with pytest.raises(OvertakenError, match=r"another `fulcrum materialize` .*expected one at a time"):
        materialize(days.spec, str(days.logs), str(tmp_path / "a"), store, THIRD)
    (generation,) = done
    assert generations.current(store, digest_of(days.spec)) == generation
    assert prefixes(store) == {generation.prefix}
    calm = open_store("memory:")
    materialize(days.spec, str(days.logs), str(tmp_path / "calm"), calm, other)
    assert store._values.keys() == calm._values.keys()
    # Once the other has ended, it is made as ever.
    again = materialize(days.spec, str(days.logs), str(tmp_path / "a"), store, THIRD)
    assert again.was_current == (other == THIRD)


def test_what_was_begun_by_one_and_overtaken_is_removed_before_the_other_writes(days, any_store, tmp_path, monkeypatch):
    materialize(days.spec, str(days.logs), str(tmp_path / "first"), any_store, FIRST)
    user, item = days.examples[0]["user_id"], days.examples[0]["item_id"]

    def overtake():
        materialize(days.spec, str(days.logs), str(tmp_path / "b"), any_store, SECOND)

    interrupted(monkeypatch, any_store, 4, overtake)
    with pytest.raises(OvertakenError):
        materialize(days.spec, str(days.logs), str(tmp_path / "a"), any_store, THIRD)
    calm = open_store("memory:")
    materialize(days.spec, str(days.logs), str(tmp_path / "calm"), calm, SECOND)
    done, expected = (Completer(days.spec, stored).complete(user, [item], AT) for stored in (any_store, calm))
    assert repr((done.user, done.candidates)) == repr((expected.user, expected.candidates))


def test_garbage_that_is_added_while_garbage_is_removed_is_not_forgotten(days, store, tmp_path, monkeypatch):
    materialize(days.spec, str(days.logs), str(tmp_path), store, SECOND)
    digest, remove = digest_of(days.spec), store.remove
    mark = generations.garbage_mark(digest)
    store.write([(b"early/a", b""), (b"late/a", b"")], {mark: generations.garbage_json(["early"])})

    def remove_and_add(prefix):
        remove(prefix)
        if prefix == b"early":
            store.write([], {mark: generations.garbage_json(["early", "late"])})
            monkeypatch.setattr(store, "remove", remove)

    monkeypatch.setattr(store, "remove", remove_and_add)
    assert materialize(days.spec, str(days.logs), str(tmp_path), store, SECOND).was_current
    assert store.read([b"early/a", b"late/a"]) == [None, None]
    assert generations.garbage(store, digest) == []


def test_two_with_one_output_are_refused_before_they_touch_each_others_rows(days, store, tmp_path):
    (tmp_path / "online").mkdir()
    with only_run(tmp_path / "online"), pytest.raises(IngestError, match=r"online: another run .* is writing"):
        materialize(days.spec, str(days.logs), str(tmp_path), store, SECOND)
    assert store._values == {}
