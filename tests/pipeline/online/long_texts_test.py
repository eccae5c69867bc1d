"""Ids and categories that are longer than the keys of a store are counted, and served as the examples hold them."""

import csv
import gzip
import json
import shutil
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
from examples_in_memory import examples_of
from fed_store import Event, Feed, differences

from pipeline.online.answers import AnswerCache, KeyCache, KeyCodes
from pipeline.online.cache import ItemCache
from pipeline.online.completion import Completer
from pipeline.online.generations import Updates
from pipeline.online.materialize import materialize
from pipeline.online.updater import Updater
from pipeline.online.values import Layout
from serving.store.protocol import MAX_KEY_BYTES

THIRD = (date(2026, 1, 3) - date(1970, 1, 1)).days
# Columns whose most common text becomes a long one; an id, a table's category and a log's.
LENGTHENED = ("user_id", "video_id", "author_id", "tab")


def test_texts_that_are_longer_than_a_key_are_what_the_examples_hold(days, any_store, tmp_path):
    spec, logs = days.spec, tmp_path / "logs"
    shutil.copytree(days.logs, logs)
    rows = [json.loads(event.line) for event in days.events]
    authors = {row["video_id"]: row["author_id"] for row in rows_of(logs / "items.csv")}
    told = [{**row, "author_id": authors[row["video_id"]]} for row in rows if row["video_id"] in authors]
    common = {name: Counter(row[name] for row in told).most_common(1)[0][0] for name in LENGTHENED}

    def lengthened(row: dict) -> dict:
        long = {name: f"{text}{'x' * MAX_KEY_BYTES}" for name, text in common.items() if row.get(name) == text}
        return {**row, **long}

    files = [*sorted(logs.glob("2026-*/*.gz")), logs / "users.csv", logs / "items.csv"]
    for file in files:
        changed = [lengthened(row) for row in rows_of(file)]
        with gzip.open(file, "wt") if file.suffix == ".gz" else file.open("w") as stream:
            writer = csv.DictWriter(stream, changed[0])
            writer.writeheader()
            writer.writerows(changed)
    events = [
        Event(event.time, event.day, json.dumps(lengthened(row)).encode())
        for event, row in zip(days.events, rows, strict=True)
    ]
    examples = examples_of(spec, {"log": files[:-2], "users": files[-2:-1], "items": files[-1:]}).to_pylist()
    assert materialize(spec, str(logs), str(tmp_path), any_store, date(2026, 1, 2)).too_long == 0
    feed = Feed(Updater(spec, any_store), [event for event in events if event.day >= THIRD])
    completer = Completer(spec, any_store)
    of_day = [example for example in examples if example["timestamp"] // 86_400_000 == THIRD]
    drawn = []
    for name in ("user_id", "item_id", "author", "tab"):
        long = [example for example in of_day if len(example[name]) > MAX_KEY_BYTES]
        drawn += [long[0], long[len(long) // 2], long[-1]]
    for example in sorted(drawn, key=lambda example: example["timestamp"]):
        feed.up_to(example["timestamp"])
        assert differences(spec, completer, example) == []


def rows_of(file: Path) -> list[dict[str, str]]:
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as stream:
        return list(csv.DictReader(stream))


def test_long_texts_take_the_room_of_several_in_what_a_process_keeps(days):
    long = [f"{number}{'x' * 60_000}" for number in range(3)]
    items = ItemCache(days.spec, Layout(days.spec).features["items"], 500)
    keys, answers = KeyCache(500), AnswerCache(1, None, 500)
    for text in long:
        items.add([text], [b"key"], [None])
        keys.add("author", {text: b""})
        asked = KeyCodes(np.array([0]), [text])
        answers.at(1, 1, Updates(), None).add(asked, np.array([0]), np.zeros((1, 1), np.float32), None)
    # Each has room for two of them.
    assert items.absent(long) == long[:2]
    assert keys.of("author", long).keys() == {long[2]}
    assert answers.at(1, 1, Updates(), None).places(KeyCodes(np.array([0]), [long[0]])).tolist() == [-1]
