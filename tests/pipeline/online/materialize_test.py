"""A generation is whole before anybody reads it, whatever happens while it is made."""

import shutil
from dataclasses import replace
from datetime import date

import pytest
from any_stores import contents, kill_at_commit

from ingest.errors import IngestError
from pipeline.online import generations, reading
from pipeline.online import materialize as module
from pipeline.online.completion import Completer
from pipeline.online.generations import DefinitionError, digest_of
from pipeline.online.materialize import materialize
from pipeline.online.plan import make_plan
from pipeline.online.turn import Written
from pipeline.online.updater import Updater
from pipeline.online.values import CorruptValueError
from schema.spec import RankingSpec
from serving.store.memory import MemoryStore
from serving.store.opening import open_store
from serving.store.protocol import OnlineStore

SECOND, THIRD = date(2026, 1, 2), date(2026, 1, 3)
AT = 1_767_225_600_000 + 3 * 86_400_000


class KilledError(BaseException):
    """What a kill is to the code that it hits."""


class Dying(MemoryStore):
    """A store whose writer is killed at the n-th write."""

    writes, at = 0, 0

    def write(self, *arguments):
        self.writes += 1
        if self.writes == self.at:
            raise KilledError
        return super().write(*arguments)


def with_statistics(spec: RankingSpec, by: list) -> RankingSpec:
    declared = spec.model_dump(mode="json", exclude_defaults=True)
    return RankingSpec.model_validate({**declared, "statistics": {"by": by, "delay": "90m"}})


@pytest.fixture(autouse=True)
def small_writes(monkeypatch):
    monkeypatch.setattr(module, "_VALUES_A_WRITE", 30)


def values_of(store: OnlineStore) -> dict[bytes, bytes]:
    """Returns the values but for manifests, which say when they were made."""
    return {key: value for key, value in contents(store).items() if not key.endswith(b"/manifest")}


def test_killed_at_any_write_and_run_again_it_goes_on_and_readers_keep_the_old_generation(days, tmp_path):
    calm = Dying()
    materialize(days.spec, str(days.logs), str(tmp_path / "calm"), calm, SECOND)
    begun = calm.writes
    materialize(days.spec, str(days.logs), str(tmp_path / "calm"), calm, THIRD)
    steps = calm.writes - begun
    assert steps > 8
    killed, old = Dying(), None
    materialize(days.spec, str(days.logs), str(tmp_path / "killed"), killed, SECOND)
    old = generations.current(killed, digest_of(days.spec))
    completer = Completer(days.spec, killed)
    user, item = days.examples[0]["user_id"], days.examples[0]["item_id"]
    before = completer.complete(user, [item], AT)
    deaths, writes = 0, []
    while True:
        # Each run comes a little further than the one before.
        killed.writes, killed.at = 0, 4 + deaths
        try:
            materialize(days.spec, str(days.logs), str(tmp_path / "killed"), killed, THIRD)
            break
        except KilledError:
            deaths += 1
            writes.append(len(killed._values))
        if generations.current(killed, digest_of(days.spec)) == old:
            again = completer.complete(user, [item], AT)
            assert repr(again) == repr(before)
    assert deaths >= 3
    assert values_of(killed) == values_of(calm)
    assert generations.garbage(killed, digest_of(days.spec)) == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_its_commits_and_run_again_it_writes_what_a_calm_run_does(days, shared_url, tmp_path, after):
    """The processes are really killed: with SQLite's transaction open, or before and after Redis gets its EXEC."""
    calm, store, kills = open_store("memory:"), open_store(shared_url, timeout_seconds=20), 0
    for day in (SECOND, THIRD):
        new = materialize(days.spec, str(days.logs), str(tmp_path / "calm"), calm, day).generation
    old = materialize(days.spec, str(days.logs), str(tmp_path / "killed"), store, SECOND).generation

    def run(killed: OnlineStore) -> None:
        materialize(days.spec, str(days.logs), str(tmp_path / "killed"), killed, THIRD)

    # Each run comes a little further than the one before.
    while kill_at_commit(shared_url, run, 2 + 5 * kills, after):
        kills += 1
        current = generations.current(store, old.digest)
        assert current == old or (current.name == new.name and values_of(calm).items() <= values_of(store).items())
    assert kills >= 3
    assert values_of(store) == values_of(calm)
    assert generations.garbage(store, old.digest) == []
    store.close()


@pytest.mark.parametrize("size", [1 << 15, 1 << 16], ids=["as many buckets", "fewer buckets"])
@pytest.mark.parametrize("has_shared", [True, False], ids=["shared statistics", "statistics of users"])
def test_killed_and_run_again_where_its_files_are_not_it_begins_anew(days, tmp_path, monkeypatch, has_shared, size):
    spec = days.spec if has_shared else with_statistics(days.spec, ["user", {"keys": ["user", "author"]}])
    outputs = {name: str(tmp_path / name) for name in ("calm", "killed", "elsewhere")}
    monkeypatch.setattr(reading, "BYTES_PER_SHARD", 1 << 15)
    calm, killed = Dying(), Dying()
    materialize(spec, str(days.logs), outputs["calm"], calm, SECOND)
    killed.at = 2 * calm.writes // 3
    with pytest.raises(KilledError):
        materialize(spec, str(days.logs), outputs["killed"], killed, SECOND)
    assert Written.from_json(killed.mark(generations.progress_mark(digest_of(spec)))).done > 1
    monkeypatch.setattr(reading, "BYTES_PER_SHARD", size)
    materialize(spec, str(days.logs), outputs["elsewhere"], killed, SECOND)
    assert values_of(killed) == values_of(calm)
    # The next day begins with what was carried on there.
    third = materialize(spec, str(days.logs), outputs["elsewhere"], killed, THIRD)
    assert third == replace(
        materialize(spec, str(days.logs), outputs["calm"], calm, THIRD), generation=third.generation
    )
    assert values_of(killed) == values_of(calm)
    assert third.rows < len(days.events) / 2


def test_killed_and_run_again_once_its_state_is_gone_it_begins_anew(days, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BYTES_PER_SHARD", 1 << 15)
    calm, killed = Dying(), Dying()
    for store, output in ((calm, "calm"), (killed, "killed")):
        materialize(days.spec, str(days.logs), str(tmp_path / output), store, SECOND)
    materialize(days.spec, str(days.logs), str(tmp_path / "calm"), calm, THIRD)
    killed.writes, killed.at = 0, 8
    with pytest.raises(KilledError):
        materialize(days.spec, str(days.logs), str(tmp_path / "killed"), killed, THIRD)
    shutil.rmtree(tmp_path / "killed" / "state")
    assert materialize(days.spec, str(days.logs), str(tmp_path / "killed"), killed, THIRD).rows > len(days.events) / 2
    assert values_of(killed) == values_of(calm)


def test_what_no_reader_takes_any_more_is_removed(days, store, tmp_path):
    first = materialize(days.spec, str(days.logs), str(tmp_path), store, SECOND).generation
    events = [event for event in days.events if event.day > first.until]
    for day in sorted({event.day for event in events}):
        Updater(days.spec, store).update([event.line for event in events if event.day == day], day=day)
    second = materialize(days.spec, str(days.logs), str(tmp_path), store, THIRD).generation
    prefixes = {key.split(b"/")[0] for key in store._values}
    tail = generations.tail_prefix(second.digest, second.until + 1)
    assert prefixes == {second.prefix, tail}
    again = materialize(days.spec, str(days.logs), str(tmp_path), store, THIRD)
    assert again.was_current
    assert {key.split(b"/")[0] for key in store._values} == {second.prefix, tail}


def test_a_generation_that_is_removed_while_a_request_reads_is_left_for_the_new_one(days, store, tmp_path):
    materialize(days.spec, str(days.logs), str(tmp_path), store, SECOND)
    completer, read = Completer(days.spec, store), store.read
    user, item = days.examples[0]["user_id"], days.examples[0]["item_id"]
    fresh = []

    def read_late(keys):
        if not fresh:
            fresh.append(materialize(days.spec, str(days.logs), str(tmp_path / "new"), store, THIRD))
        return read(keys)

    store.read = read_late
    late = completer.complete(user, [item], AT)
    store.read = read
    assert repr(late) == repr(Completer(days.spec, store).complete(user, [item], AT))
    assert completer.generation() == fresh[0].generation


def test_another_definition_is_an_error_that_says_what_there_is(days, store, tmp_path):
    materialize(days.spec, str(days.logs), str(tmp_path), store, SECOND)
    behaviours = [behaviour.model_copy(update={"max_length": 9}) for behaviour in days.spec.behaviours]
    changed = days.spec.model_copy(update={"behaviours": tuple(behaviours)})
    with pytest.raises(DefinitionError, match=f"nothing of shortvideo .*{digest_of(days.spec)}"):
        Completer(changed, store).complete("u", [])
    with pytest.raises(DefinitionError):
        Updater(changed, store).update([b"{}"])
    # What doesn't define the examples doesn't matter.
    same = days.spec.with_training(learning_rate=0.5, levels=1)
    log = same.log.model_copy(update={"files": ("elsewhere-*",)})
    assert digest_of(same.model_copy(update={"log": log, "gates": {}})) == digest_of(days.spec)


def test_a_value_that_is_corrupt_or_of_another_key_is_told_with_its_key(days, store, tmp_path):
    generation = materialize(days.spec, str(days.logs), str(tmp_path), store, SECOND).generation
    users = [example["user_id"] for example in days.examples[:2]]
    user, other_user = (generation.key(generations.USER, name) for name in users)
    value = store._values[user]
    item = generation.key(generations.ITEM, days.examples[0]["item_id"])
    for key, broken in (
        (user, value[:-1]),
        (user, value[:40] + bytes([value[40] ^ 1]) + value[41:]),
        (user, b""),
        (user, store._values[other_user] if user != other_user else b"x"),
        (item, store._values[item][:-1]),
    ):
        intact = store._values[key]
        store._values[key] = broken
        with pytest.raises(CorruptValueError, match=key.decode().rsplit("/")[-1]):
            Completer(days.spec, store).complete(users[0], [days.examples[0]["item_id"]], AT)
        store._values[key] = intact
    foreign = RankingSpec.model_validate({**days.spec.model_dump(mode="json", exclude_defaults=True), "name": "other"})
    assert digest_of(foreign) != digest_of(days.spec)


def test_logs_that_can_not_be_used_are_refused_and_leave_the_store_as_it_was(days, tmp_path):
    store = open_store("memory:")
    with pytest.raises(IngestError, match="no folder of that day"):
        materialize(days.spec, str(days.logs), str(tmp_path), store, date(2027, 1, 1))
    bad = tmp_path / "logs" / "2026-01-01"
    bad.mkdir(parents=True)
    (bad / "impressions-1.csv.gz").write_bytes(b"no gzip")
    for table in ("users.csv", "items.csv"):
        (tmp_path / "logs" / table).write_bytes((days.logs / table).read_bytes())
    with pytest.raises(IngestError):
        materialize(days.spec, str(tmp_path / "logs"), str(tmp_path), store)
    assert store._values == {}
    with pytest.raises(DefinitionError, match="but nothing"):
        Completer(days.spec, store).complete("u", [])


@pytest.mark.parametrize("in_the_way", [".", "online", "online/{name}/users", "online/{name}/tiles", "state"])
def test_an_output_that_can_not_be_written_is_told_by_its_path_and_leaves_the_store_as_it_was(
    days, store, tmp_path, in_the_way
):
    output = tmp_path / "output"
    name = make_plan(days.spec, str(days.logs), f"{output}/state", SECOND).name
    path = output / in_the_way.format(name=name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    with pytest.raises(IngestError, match=f"{path}.*expected --output {output} to be a folder that can be written"):
        materialize(days.spec, str(days.logs), str(output), store, SECOND)
    assert generations.current(store, digest_of(days.spec)) is None
