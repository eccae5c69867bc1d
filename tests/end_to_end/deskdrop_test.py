"""The real thing: the Deskdrop log from its zip to a pushed model, each example against a computation of its own."""

import zipfile
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from whole_runs import DESKDROP, Run, read_examples

from report.summary import load_summary

TASKS = {"like": "LIKE", "bookmark": "BOOKMARK", "comment": "COMMENT CREATED", "follow": "FOLLOW"}
BEHAVIOURS = {
    "viewed": ("VIEW", 50),
    "liked": ("LIKE", 20),
    "bookmarked": ("BOOKMARK", 20),
    "commented": ("COMMENT CREATED", 20),
    "followed": ("FOLLOW", 20),
}
DAY = 86_400
# Views of the log's last day.
UNRIPE = 14


def _expected() -> tuple[dict[tuple, list[tuple]], pd.DataFrame]:
    """`(user, item, time)` of each VIEW -> what its examples hold: features, labels, sequences."""
    with zipfile.ZipFile(DESKDROP / "users_interactions.zip") as archive:
        log = pd.read_csv(archive.open("users_interactions.csv"), dtype=str, keep_default_na=False)
    log["timestamp"] = log.timestamp.astype(int)
    views = log[log.eventType == "VIEW"]
    by_pair = defaultdict(list)
    for row, user, item, time in zip(views.index, views.personId, views.contentId, views.timestamp, strict=True):
        by_pair[user, item].append((time, row))
    labelled = defaultdict(set)
    for task, event in TASKS.items():
        feedback = log[log.eventType == event]
        for user, item, time in zip(feedback.personId, feedback.contentId, feedback.timestamp, strict=True):
            earlier = [view for view in by_pair[user, item] if time - DAY <= view[0] < time]
            if earlier:
                labelled[max(earlier)[1]].add(task)
    did = {}
    for name, (event, _) in BEHAVIOURS.items():
        rows = log[log.eventType == event]
        did[name] = defaultdict(list)
        for user, item, time in zip(rows.personId, rows.contentId, rows.timestamp, strict=True):
            did[name][user].append((time, item))
        for events in did[name].values():
            events.sort()
    when = pd.to_datetime(views.timestamp, unit="s")
    examples = defaultdict(list)
    for row, hour, weekday in zip(views.itertuples(), when.dt.hour, when.dt.dayofweek, strict=True):
        missing = "__missing__"
        values = [row.userRegion or missing, row.userCountry or missing, str(hour), str(weekday)]
        # Of the last day's views feedback may still come.
        ripe = row.timestamp <= log.timestamp.max() - DAY
        values += [float(ripe and task in labelled[row.Index]) for task in TASKS] + [float(ripe)] * len(TASKS)
        for name, (_, longest) in BEHAVIOURS.items():
            events = did[name][row.personId]
            history = events[: bisect_left(events, (row.timestamp, ""))][-longest:]
            values.append([item for _, item in history])
            values.append([float(np.float32(row.timestamp - time)) for time, _ in history])
        examples[row.personId, row.contentId, row.timestamp].append(tuple(values))
    return examples, log


def test_the_zip_as_it_is_becomes_a_pushed_model(deskdrop_run: Run):
    summary = load_summary(deskdrop_run.output)
    evaluation = summary.evaluation
    assert summary.blessed, evaluation.reasons
    assert [task.name for task in evaluation.tasks] == list(TASKS)
    assert all(evaluation.result(task).metrics["auc"]["candidate"].value > 0.6 for task in TASKS)
    assert Path(summary.places["pushed model"], "saved_model.pb").is_file()
    assert "1 × DISLIKE" in deskdrop_run.finished.out


def test_every_deskdrop_example_equals_an_independent_computation(deskdrop_run: Run):
    expected, log = _expected()
    summary = load_summary(deskdrop_run.output)
    splits = {
        name: read_examples(Path(summary.places["examples"]) / f"Split-{name}") for name in ("train", "eval", "test")
    }
    rows = [row for split in splits.values() for row in split]

    actual = defaultdict(list)
    for row in rows:
        values = [row[name][0] for name in ("region", "country", "hour", "weekday")]
        values += [row[f"{role}_{task}"][0] for role in ("label", "space") for task in TASKS]
        for name in BEHAVIOURS:
            values += [row[f"{name}_item_id"], row[f"{name}_age_s"]]
        actual[row["user_id"][0], row["item_id"][0], row["timestamp"][0]].append(tuple(values))
    assert len(rows) == 61_086
    assert actual.keys() == expected.keys()
    different = [key for key in expected if sorted(actual[key]) != sorted(expected[key])]
    assert different == []

    assert summary.ingest["unused_events"] == {"DISLIKE": 1}
    assert summary.ingest["sources"]["log"] == {"files": 1, "rows": len(log), "quarantined": {}}
    times = np.sort(log[log.eventType == "VIEW"].timestamp.to_numpy())
    ripe = times[times <= log.timestamp.max() - DAY]
    assert summary.ingest["feedback"]["like"]["unripe"] == len(times) - len(ripe) == UNRIPE
    cuts = ripe[len(ripe) - round(0.2 * len(ripe))], ripe[len(ripe) - round(0.1 * len(ripe))]
    assert [len(split) for split in splits.values()] == [
        int((times < cuts[0]).sum()),
        int(((times >= cuts[0]) & (times < cuts[1])).sum()),
        int((times >= cuts[1]).sum()),
    ]
    assert max(row["timestamp"][0] for row in splits["train"]) < cuts[0]
    assert min(row["timestamp"][0] for row in splits["test"]) == cuts[1]
