"""Rows of a generation lie in buckets of users that are about as large however many users there are."""

from datetime import date

from ingest.sources import SourceFile, shard_count
from pipeline.online import reading
from pipeline.online.materialize import materialize
from pipeline.online.reading import bucket_count
from serving.store.opening import open_store

MB = 1 << 20
LOG = SourceFile("log", 0, "2026-01-02/log.csv", 12 * MB)


def test_what_earlier_days_have_carried_on_of_users_counts_for_the_buckets_and_items_do_not():
    # A bucket holds 8 MB; of Parquet and of what is compressed a sixth of that.
    assert bucket_count([LOG]) == shard_count((LOG,)) == 2
    history = SourceFile("history", 0, "state/part-00000-of-00001.parquet", 8 * MB)
    state = SourceFile("statistic-1", 0, "state/part-00000-of-00001.parquet", 4 * MB)
    users = SourceFile("users", 0, "users.csv.gz", 8 * MB)
    items = SourceFile("items", 0, "items.csv", 800 * MB)
    assert bucket_count([LOG, history]) == 8
    assert bucket_count([LOG, history, state, users, items]) == 17
    # The examples of a run hang on the number of its shards.
    assert shard_count((LOG, history, state, users, items)) == 2


def test_a_quiet_day_after_many_users_is_cut_as_finely_as_they_need(days, tmp_path, monkeypatch):
    """The values are the same in any number of buckets."""
    stores, buckets = [], []
    for size in (reading.BYTES_PER_SHARD, 1 << 14):
        monkeypatch.setattr(reading, "BYTES_PER_SHARD", size)
        store, output = open_store("memory:"), tmp_path / str(size)
        for day in (2, 3):
            materialize(days.spec, str(days.logs), str(output), store, date(2026, 1, day))
        stores.append({key: value for key, value in store._values.items() if not key.endswith(b"/manifest")})
        buckets.append({path.name.rsplit("-of-")[1] for path in output.glob("state/*/2026-01-04/*/part-*")})
    assert buckets[0] == {"00001.parquet"}
    assert "00001.parquet" not in buckets[1]
    assert stores[0] == stores[1]
