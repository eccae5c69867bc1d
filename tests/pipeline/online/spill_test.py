"""Rows are sorted into any number of files, however few of them a process may open."""

import os
import resource

import pytest

from pipeline.online import spill
from pipeline.online.spill import Spill, finished, read_chunks

BUCKETS, ROUNDS = 200, 5


@pytest.fixture
def few_files():
    """Lets the process open some ten more files than it has."""
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 10, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("waiting", [1, 5_000, 1 << 20], ids=["each for itself", "some at once", "all at once"])
def test_chunks_of_more_buckets_than_files_may_be_open_come_back_by_bucket(tmp_path, monkeypatch, few_files, waiting):
    monkeypatch.setattr(spill, "_WAITING_BYTES", waiting)
    chunks = {
        bucket: [("log", number, bucket, b"%d" % number * bucket) for number in range(ROUNDS)]
        for bucket in range(1, BUCKETS)
    }
    writing = Spill(tmp_path, BUCKETS)
    for number in range(ROUNDS):
        for bucket, of_bucket in chunks.items():
            writing.add(bucket, of_bucket[number])
    assert finished(tmp_path) is None
    writing.finish(b"note")
    assert finished(tmp_path) == b"note"
    assert {bucket: list(read_chunks(tmp_path, bucket)) for bucket in range(1, BUCKETS)} == chunks
    assert list(read_chunks(tmp_path, 0)) == []


def test_what_a_killed_run_has_left_is_not_added_to(tmp_path):
    Spill(tmp_path, 2).finish(b"old")
    left = Spill(tmp_path, 2)
    left.add(1, ("log", 0, 0, b"left"))
    left._append()
    again = Spill(tmp_path, 2)
    assert finished(tmp_path) is None
    again.add(1, ("log", 0, 0, b"again"))
    again.finish()
    assert list(read_chunks(tmp_path, 1)) == [("log", 0, 0, b"again")]
