"""What every backend promises: one class for all of them."""

import multiprocessing
import threading
import time

import pytest
from redis_server import NO_REDIS, REDIS, redis_server

from serving.store import redis as redis_backend
from serving.store import sqlite
from serving.store.address import shown
from serving.store.opening import open_store
from serving.store.protocol import MAX_KEY_BYTES, ConflictError, KeySizeError, StoreError, StoreUnavailableError

with_redis = pytest.mark.skipif(REDIS is None, reason=NO_REDIS)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=with_redis)])
def url(request, tmp_path) -> str:
    if request.param == "redis":
        base = request.getfixturevalue("redis_url")
        client = redis_backend.redis.Redis.from_url(base)
        client.flushdb()
        client.close()
        return base
    return {"memory": "memory:", "sqlite": f"sqlite://{tmp_path}/folder/store.db"}[request.param]


@pytest.fixture
def store(url):
    opened = open_store(url, create=True)
    yield opened
    opened.close()


@pytest.fixture
def another(url, store):
    """The same store as another process would open it."""
    if url == "memory:":
        yield store
        return
    opened = open_store(url)
    yield opened
    opened.close()


class TestStore:
    def test_values_are_read_in_the_order_of_the_keys_and_none_where_there_is_none(self, store, another):
        assert store.read([b"g/a"]) == [None]
        store.write([(b"g/a", b"1"), (b"g/b", b""), (b"g/\xff\0", bytes(range(256)))])
        assert another.read([b"g/b", b"g/no", b"g/\xff\0", b"g/a", b"g/b"]) == [b"", None, bytes(range(256)), b"1", b""]
        assert another.read([]) == []
        store.write([(b"g/a", b"2")])
        assert another.read([b"g/a", b"g/b"]) == [b"2", b""]

    def test_marks_are_written_with_values_and_have_names_of_their_own(self, store, another):
        assert store.mark("current") is None
        store.write([(b"current", b"value")], {"current": b"one"})
        assert another.mark("current") == b"one"
        assert another.read([b"current"]) == [b"value"]
        store.write([], {"current": b"two"})
        assert another.mark("current") == b"two"

    def test_nothing_is_written_where_a_mark_is_not_what_was_expected(self, store, another):
        store.write([(b"g/a", b"1")], {"position": b"1"}, {"position": None})
        for expected in ({"position": None}, {"position": b"0"}, {"position": b"1", "other": b"x"}):
            with pytest.raises(ConflictError):
                another.write([(b"g/a", b"2")], {"position": b"2"}, expected)
        assert (store.read([b"g/a"]), store.mark("position")) == ([b"1"], b"1")
        another.write([(b"g/a", b"2")], {"position": b"2"}, {"position": b"1", "other": None})
        assert (store.read([b"g/a"]), store.mark("position")) == ([b"2"], b"2")

    def test_of_two_writers_that_count_at_once_none_loses_what_the_other_wrote(self, store, another):
        def count(counting):
            for _ in range(25):
                while True:
                    before = counting.mark("version")
                    (value,) = counting.read([b"g/sum"])
                    try:
                        total = str(int(value or b"0") + 1).encode()
                        version = str(int(before or b"0") + 1).encode()
                        counting.write([(b"g/sum", total)], {"version": version}, {"version": before})
                        break
                    except (ConflictError, StoreUnavailableError):
                        continue

        threads = [threading.Thread(target=count, args=(counting,)) for counting in (store, another, store)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.read([b"g/sum"]) == [b"75"]

    def test_a_key_beyond_the_limit_is_refused_and_nothing_is_written_with_it(self, store):
        longest = b"g/" + b"x" * (MAX_KEY_BYTES - 2)
        store.write([(longest, b"1")])
        assert store.read([longest]) == [b"1"]
        with pytest.raises(KeySizeError, match="4,097 bytes"):
            store.write([(b"g/a", b"1"), (longest + b"x", b"1")], {"mark": b"1"})
        with pytest.raises(KeySizeError):
            store.read([longest + b"x"])
        assert (store.read([b"g/a"]), store.mark("mark")) == ([None], None)

    def test_a_generation_is_removed_as_a_whole_and_no_other_key(self, store, another):
        others = [(b"g1/b", b"1"), (b"g/", b"1"), (b"g*/a", b"1"), (b"x/g/a", b"1"), (b"g0", b"1")]
        store.write([(b"g/%d" % number, b"1") for number in range(1_500)] + others, {"g/mark": b"1"})
        store.remove(b"g*")
        assert another.read([b"g*/a", b"g/0"]) == [None, b"1"]
        store.remove(b"g")
        assert another.read([b"g/%d" % number for number in range(1_500)] + [b"g/"]) == [None] * 1_501
        assert another.read([b"g1/b", b"x/g/a", b"g0"]) == [b"1"] * 3
        assert store.mark("g/mark") == b"1"

    def test_readers_see_all_of_a_write_or_nothing(self, store, another):
        keys, torn, done = [b"g/%d" % number for number in range(50)], [], threading.Event()

        def read():
            while not done.is_set():
                values = another.read(keys)
                if len(set(values)) > 1:
                    torn.append(values)

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(40):
            store.write([(key, b"%d" % number) for key in keys])
        done.set()
        reader.join()
        assert not torn
        assert store.read(keys) == [b"39"] * 50


def test_keys_of_one_hash_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "hash_of", lambda key: len(key))
    store = open_store(f"sqlite://{tmp_path}/store.db", create=True)
    store.write([(b"g/a", b"1"), (b"g/b", b"2"), (b"h/c", b"3")])
    store.write([(b"g/b", b"4"), (b"g/a", b"5")])
    assert store.read([b"g/a", b"g/b", b"h/c", b"g/d"]) == [b"5", b"4", b"3", None]
    store.remove(b"g")
    assert store.read([b"g/a", b"g/b", b"h/c"]) == [None, None, b"3"]
    store.write([(b"h/c", b"6"), (b"h/d", b"7"), (b"i/d", b"8")])
    assert store.read([b"h/c", b"h/d", b"i/d"]) == [b"6", b"7", b"8"]
    store.remove(b"h")
    assert store.read([b"h/c", b"h/d", b"i/d"]) == [None, None, b"8"]
    store.remove(b"i")
    assert store.read([b"i/d"]) == [None]


def _read_often(url: str, sender) -> None:
    store = open_store(url)
    sender.send([store.read([b"g/a"]) for _ in range(50)][-1])
    store.close()


def test_several_processes_read_a_file_while_one_writes(tmp_path):
    url = f"sqlite://{tmp_path}/store.db"
    store = open_store(url, create=True)
    store.write([(b"g/a", b"1")])
    context = multiprocessing.get_context("fork")
    readers = []
    for _ in range(2):
        receiver, sender = context.Pipe(duplex=False)
        readers.append((context.Process(target=_read_often, args=(url, sender)), receiver))
        readers[-1][0].start()
    for _ in range(50):
        store.write([(b"g/a", b"1")])
    for process, receiver in readers:
        assert receiver.recv() == [b"1"]
        process.join()


def test_a_writer_that_is_in_the_way_is_waited_for_until_the_deadline_and_never_by_readers(tmp_path):
    url = f"sqlite://{tmp_path}/store.db"
    store, impatient = open_store(url, create=True), open_store(url, timeout_seconds=0.2)
    store.write([(b"g/a", b"1")])
    with store._transaction("BEGIN IMMEDIATE"):
        assert impatient.read([b"g/a"]) == [b"1"]
        start = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="locked"):
            impatient.write([(b"g/a", b"2")])
        assert 0.1 < time.monotonic() - start < 5
    impatient.write([(b"g/a", b"2")])
    assert store.read([b"g/a"]) == [b"2"]


@pytest.mark.parametrize(
    "url", ["", "store.db", "memory:x", "mysql://host", "sqlite:", "sqlite://host/x", "[", "redis://x:y"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(StoreError, match=r"expected|redis"):
        open_store(url)


def test_a_file_that_is_none_of_a_store_or_not_there_is_refused(tmp_path):
    with pytest.raises(StoreError, match="fulcrum materialize"):
        open_store(f"sqlite://{tmp_path}/none.db")
    (tmp_path / "text.db").write_text("hello\n" * 1_000)
    with pytest.raises(StoreError, match="expected a store"):
        open_store(f"sqlite://{tmp_path}/text.db")


def test_an_address_without_a_slash_is_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:here/store.db", create=True).close()
    assert (tmp_path / "here" / "store.db").is_file()


def test_without_the_client_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(redis_backend, "redis", None)
    with pytest.raises(StoreError, match=r"fulcrum-ranking\[redis\]"):
        open_store("redis://localhost:1/0")


@with_redis
def test_a_server_that_is_gone_or_hangs_is_told_within_the_deadline_and_one_that_is_back_is_found(tmp_path):
    with redis_server(tmp_path) as url:
        store = open_store(url, timeout_seconds=0.3)
        store.write([(b"g/a", b"1")])
        client = redis_backend.redis.Redis.from_url(url)
        client.execute_command("CLIENT", "PAUSE", 1_500, "ALL")
        start = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            store.read([b"g/a"])
        assert time.monotonic() - start < 1.2
    with pytest.raises(StoreUnavailableError, match=r"redis://127\.0\.0\.1"):
        store.read([b"g/a"])
    with pytest.raises(StoreUnavailableError):
        open_store(url, timeout_seconds=0.3)
    with redis_server(tmp_path, port=int(url.split(":")[2].split("/")[0])):
        assert store.read([b"g/a"]) == [None]


def test_a_file_whose_folder_can_not_be_made_is_refused_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/folder/store.db: can't be made, since .*: Not a directory"):
        open_store(f"sqlite://{tmp_path}/file/folder/store.db", create=True)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:secret@host:6379/0", "redis://host:6379/0"),
        ("rediss://me:se#c/r@et@host/1?password=secret", "rediss://host/1"),
        ("redis://me:sec?ret@host/1", "redis://…"),
        ("redis://host/1?password=sec@ret", "redis://…"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("sqlite:///a@b/store.db", "sqlite:///a@b/store.db"),
        ("sqlite:store.db", "sqlite:store.db"),
        ("memory:", "memory:"),
    ],
)
def test_an_address_is_shown_without_what_is_secret(url, expected):
    assert shown(url) == expected


def test_an_address_that_is_refused_is_shown_without_its_password():
    with pytest.raises(StoreError) as refused:
        open_store("mysql://me:secret@host/1")
    assert "'mysql://host/1'" in str(refused.value)


@with_redis
def test_a_password_is_in_no_message():
    with pytest.raises(StoreUnavailableError) as refused:
        open_store("redis://:secret@127.0.0.1:1/0")
    assert "secret" not in str(refused.value)


@with_redis
def test_nothing_is_asked_of_redis_but_what_every_relative_of_it_has(tmp_path):
    with redis_server(tmp_path) as url:
        store = open_store(url)
        store.write([(b"g/a", b"1")], {"m": b"1"}, {"m": None})
        store.read([b"g/a"])
        store.remove(b"g")
        client = redis_backend.redis.Redis.from_url(url)
        used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    ours = {"mget", "set", "multi", "exec", "watch", "unwatch", "scan", "expire"}
    # What the client asks of itself when it connects, and this test.
    assert used - ours <= {"client|setinfo", "client|setname", "select", "ping", "hello", "info", "client", "auth"}
