"""A real log that ships with the tests: KuaiRand's excerpt to a pushed model, each example against pandas."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tfx.utils import path_utils
from whole_runs import KUAIRAND, Run, read_examples

from report.summary import load_summary
from report.transfer import task_transfers
from schema.loading import load_spec
from serving.local_server.warmup import warm_up
from serving.model.predict import Limits
from serving.model.saved_model import SavedModel

MISSING = "__missing__"
LABELS = {
    "click": "is_click",
    "long_view": "long_view",
    "like": "is_like",
    "profile": "is_profile_enter",
    "comment": "is_comment",
    "follow": "is_follow",
    "forward": "is_forward",
}
BEHAVIOURS = {"clicked": ("is_click", 30), "viewed_long": ("long_view", 30), "liked": ("is_like", 20)}
# How long after its impression feedback is known.
DELAY_MS = 300_000


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    log = pd.concat([pd.read_parquet(file) for file in sorted(KUAIRAND.glob("log_*.parquet"))], ignore_index=True)
    for table, key in (("user_features_pure", "user_id"), ("video_features_basic_pure", "video_id")):
        rows = pd.read_csv(KUAIRAND / f"{table}.csv.gz", dtype=str, keep_default_na=False).astype({key: int})
        log = log.merge(rows, on=key, how="left", suffixes=("", f"_of_{table}"))
    return log


@pytest.fixture(scope="module")
def examples(kuairand_run: Run) -> dict[str, list[dict]]:
    folder = Path(load_summary(kuairand_run.output).places["examples"])
    return {split: read_examples(folder / f"Split-{split}") for split in ("train", "eval", "test")}


def key(example: dict) -> tuple[str, str, int]:
    return example["user_id"][0], example["item_id"][0], example["timestamp"][0]


def test_every_row_is_an_example_of_the_split_of_its_time(kuairand_run: Run, examples, log):
    times = np.sort(log.time_ms.to_numpy())
    # Rows of one time stay together.
    cuts = [times[len(times) - round(share * len(times))] for share in (0.2, 0.1)]
    assert [len(rows) for rows in examples.values()] == np.diff([0, *np.searchsorted(times, cuts), len(times)]).tolist()
    assert load_summary(kuairand_run.output).ingest["sources"]["log"]["quarantined"] == {}
    expected = sorted(zip(log.user_id.astype(str), log.video_id.astype(str), log.time_ms, strict=True))
    assert sorted(key(example) for rows in examples.values() for example in rows) == expected
    newest = [max(example["timestamp"][0] for example in examples[split]) for split in ("train", "eval")]
    oldest = [min(example["timestamp"][0] for example in examples[split]) for split in ("eval", "test")]
    assert newest[0] < oldest[0]
    assert newest[1] < oldest[1]


def test_labels_and_features_are_those_that_pandas_joins(kuairand_run: Run, examples, log):
    spec = load_spec(kuairand_run.spec)
    when = pd.to_datetime(log.time_ms, unit="ms")
    columns = {"hour": when.dt.hour.astype(str), "weekday": when.dt.dayofweek.astype(str)}
    for feature in spec.features:
        if feature.kind == "categorical":
            # Whole numbers are the same category with a point and without.
            values = log[feature.source_column].astype(str).str.removesuffix(".0")
            columns[feature.name] = values.where(values != "", MISSING)
    # A video without a duration has no share that was watched: it is outside of the task's sample space.
    lasts = log.duration_ms > 0
    shares = (log.play_time_ms / log.duration_ms.where(lasts, 1)).clip(0, 1).where(lasts, 0)
    columns["label_finish"] = shares.astype(np.float32).astype(float)
    columns["space_finish"] = lasts.astype(float)
    columns |= {f"label_{task}": log[column].astype(float) for task, column in LABELS.items()}
    rows = zip(log.user_id.astype(str), log.video_id.astype(str), log.time_ms, *columns.values(), strict=True)
    expected = defaultdict(list)
    for user, item, time, *values in rows:
        expected[user, item, time].append(tuple(values))
    actual = defaultdict(list)
    for example in (example for split in examples.values() for example in split):
        actual[key(example)].append(tuple(example[name][0] for name in columns))
    assert {impression: sorted(rows) for impression, rows in actual.items()} == {
        impression: sorted(rows) for impression, rows in expected.items()
    }


def test_sequences_hold_what_was_known_strictly_before_each_impression(examples, log):
    history = {
        name: {
            user: sorted(zip(rows.time_ms + DELAY_MS, rows.time_ms, rows.video_id.astype(str), strict=True))
            for user, rows in log[log[column] == 1].groupby(log.user_id.astype(str))
        }
        for name, (column, _) in BEHAVIOURS.items()
    }
    lengths = []
    for example in (example for split in examples.values() for example in split):
        user, _, time = key(example)
        for name, (_, longest) in BEHAVIOURS.items():
            past = [event for event in history[name].get(user, []) if event[0] < time][-longest:]
            ages = [float(np.float32((time - happened) / 1_000)) for _, happened, _ in past]
            assert example[f"{name}_age_s"] == ages
            # What happened at the same millisecond may stand in either order.
            assert sorted(example[f"{name}_item_id"]) == sorted(item for _, _, item in past) or len(past) == longest
            lengths.append(len(past))
    assert max(lengths) == 30


def test_the_model_is_evaluated_on_each_task_and_pushed_if_it_is_blessed(kuairand_run: Run):
    summary = load_summary(kuairand_run.output)
    assert [task.name for task in summary.evaluation.tasks] == [
        "click",
        "long_view",
        "finish",
        *(task for task in LABELS if task not in ("click", "long_view")),
    ]
    assert all(summary.evaluation.result(task).metrics["auc"]["candidate"].value > 0.55 for task in ("click", "like"))
    assert ("pushed model" in summary.places) == summary.blessed


def test_the_default_chooses_by_task_and_says_so_and_how_tasks_fare_by_sharing(kuairand_run: Run):
    artifacts = kuairand_run.output / "artifacts"
    evaluation = load_summary(kuairand_run.output).evaluation
    (diagnostics,) = artifacts.glob("Trainer/model_run/*/diagnostics.json")
    choices = json.loads(diagnostics.read_text())["choices"]
    assert list(choices) == [task.name for task in evaluation.tasks]
    assert list(artifacts.glob("ReferenceTrainer/model/*"))
    assert {transfer.task for transfer in task_transfers(evaluation)} == set(choices)
    (page,) = artifacts.glob("EvaluationReport/report/*/index.html")
    for text in (kuairand_run.finished.out, page.read_text()):
        assert "Of 8 tasks against their single-task models: " in text


def test_what_would_be_pushed_serves_requests_made_of_the_log(kuairand_run: Run):
    (blessing,) = (kuairand_run.output / "artifacts" / "ServingValidator" / "blessing").iterdir()
    model = SavedModel(Path(path_utils.stamped_model_path(str(blessing))))
    try:
        # The server's own limits, under which NaN is refused.
        assert warm_up(model, Limits()) >= 20
    finally:
        model.close()
