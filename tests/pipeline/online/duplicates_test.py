"""`log.duplicates: drop` leaves out of a store what it leaves out of the examples; `error` refuses it."""

import csv
import gzip
import json
import shutil
from datetime import date
from pathlib import Path

import pytest

from ingest.errors import IngestError
from ingest.rank_request import RequestLogs
from pipeline.online.completion import Completer
from pipeline.online.materialize import materialize
from pipeline.online.updater import Updater
from schema.spec import RankingSpec
from serving.store.opening import open_store

DAYS = [date(2026, 1, day) for day in (1, 2, 3)]
AT = 1_767_225_600_000 + 3 * 86_400_000 + 3_600_000


def declared(spec: RankingSpec, duplicates: str) -> RankingSpec:
    return spec.model_copy(update={"log": spec.log.model_copy(update={"duplicates": duplicates})})


@pytest.fixture(scope="module")
def repeated(days, tmp_path_factory) -> Path:
    """The logs, in which some rows stand twice: at the day's end, and at the start of the day after."""
    logs = tmp_path_factory.mktemp("repeated") / "logs"
    shutil.copytree(days.logs, logs)
    before: list[dict] = []
    for folder in sorted(logs.glob("2026-*")):
        (file,) = folder.glob("impressions-*.csv.gz")
        with gzip.open(file, "rt") as stream:
            rows = list(csv.DictReader(stream))
        with gzip.open(file, "wt", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows([*before, *rows, *rows[::4]])
        # Rows that liked: the sequences carry them on.
        before = [row for row in rows[-60:] if row["like"] == "1"][-5:]
    assert before
    return logs


def contents(store) -> dict[bytes, bytes]:
    """Returns what the values hold, whatever the generation is called."""
    return {key.split(b"/", 1)[1]: value[16:] for key, value in store._values.items() if b"manifest" not in key}


def test_a_store_of_repeated_rows_is_one_of_rows_that_stand_once(days, repeated, tmp_path):
    stores, spec = [], declared(days.spec, "drop")
    for logs in (days.logs, repeated):
        store = open_store("memory:")
        for day in DAYS:
            done = materialize(spec, str(logs), str(tmp_path / logs.parent.name), store, day)
        stores.append(contents(store))
    assert len(stores[0]) > 100
    # The values' head has a checksum of their key, which names the generation.
    assert {key: value[4:] for key, value in stores[0].items()} == {key: value[4:] for key, value in stores[1].items()}
    with_duplicates = open_store("memory:")
    for day in DAYS:
        materialize(days.spec, str(repeated), str(tmp_path / "kept"), with_duplicates, day)
    assert contents(with_duplicates) != stores[1]
    assert done.rows > 0


def test_events_and_requests_go_through_as_ever(days, repeated, store, tmp_path):
    spec = declared(days.spec, "drop")
    materialize(spec, str(repeated), str(tmp_path), store, DAYS[1])
    fourth = [event for event in days.events if event.day == (DAYS[2] - date(1970, 1, 1)).days]
    done = Updater(spec, store).update([event.line for event in fourth], day=fourth[0].day)
    assert (done.counted, done.rejected) == (len(fourth), ())
    user, item = json.loads(fourth[0].line)["user_id"], json.loads(fourth[0].line)["video_id"]
    at = fourth[-1].time + 1
    done = Completer(spec, store).complete(user, [item], at)
    logs = RequestLogs.read(spec, str(repeated), None, [item], at=at)
    assert repr(done.user) == repr(logs.user_columns(user, at))
    assert repr({name: list(values) for name, values in done.candidates.items()}) == repr(
        {name: list(values) for name, values in logs.candidate_columns([item], user, at).items()}
    )


def test_error_refuses_the_logs_and_names_the_row(days, repeated, store, tmp_path):
    with pytest.raises(IngestError, match=r"log.duplicates: .* rows are equal .* The first: .*impressions"):
        materialize(declared(days.spec, "error"), str(repeated), str(tmp_path), store, DAYS[0])
    assert not any(b"manifest" in key for key in store._values)
