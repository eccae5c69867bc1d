"""What statistics cost that are staler when served than when trained on.

`python -m benchmarks.freshness`: PLE on simulated short videos, or on `--data kuairand`, its statistics an hour old or
a day old at each example (`statistics.delay`), or without any; a seed. Each is scored on the test split as it was
trained, and the one of an hour also with statistics of a day, as a store would give that is filled once a day and says
nothing.

Expected, on the first task by paired intervals by user: what was trained on statistics of a day and is served with
these is ahead of what was trained on fresher ones and is served with these, and not behind a ranker without statistics.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import yaml

from benchmarks import expectations
from benchmarks.comparison import Gain, Row, compare
from benchmarks.data_sets import DATA, Logs, kuairand, simulated
from benchmarks.prepared import Prepared, prepare, trained
from schema.columns import TIMESTAMP
from schema.modelling import SHARED_ROUTING

USERS, IMPRESSIONS = 2_000, 80_000
FRESH, STALE, NONE = "1h", "1d", "none"
# What was trained on, and what it is served with.
AS_TRAINED, UNANNOUNCED, WITHOUT = (STALE, STALE), (FRESH, STALE), (NONE, NONE)
SERVED = ((FRESH, FRESH), UNANNOUNCED, AS_TRAINED, WITHOUT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("simulated", "kuairand"), default="simulated")
    parser.add_argument("--users", type=int, default=USERS, help="simulated")
    parser.add_argument("--impressions", type=int, default=IMPRESSIONS, help="simulated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a directory for the runs, which are taken if they are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        logs = chosen_logs(options, folder)
        prepared = {
            delay: prepare(write_spec(delay, logs.spec, folder), logs.folder, folder / f"{logs.name}_{delay}")
            for delay in (FRESH, STALE, NONE)
        }
        check_rows(prepared)
        scores: dict[str, np.ndarray] = {}
        for delay, examples in prepared.items():
            score = trained(examples, examples.spec.with_training(seed=options.seed))
            for served in (served for of, served in SERVED if of == delay):
                scores[named((delay, served))] = score(prepared[served].test)
    first = named(AS_TRAINED)
    rows = compare(prepared[STALE], [{first: scores.pop(first), **scores}]).rows
    print("\n".join(table(rows)), flush=True)
    gains = {f"{row.task} {row.metric}": row.as_json() for row in rows}
    return expectations.conclude({"test": gains}, list(shortfalls(rows[0].task, rows[0].gains)))


def chosen_logs(options: argparse.Namespace, folder: Path) -> Logs:
    if options.data == "kuairand":
        return kuairand(DATA, folder)
    return simulated(DATA, folder, options.users, options.impressions)


def check_rows(prepared: Mapping[str, Prepared]) -> None:
    """Ends with a sentence where the runs' test splits aren't the same impressions in the same order."""
    keys = {"user_id": tf.io.FixedLenFeature([], tf.string), "item_id": tf.io.FixedLenFeature([], tf.string)}
    keys[TIMESTAMP] = tf.io.FixedLenFeature([], tf.int64)
    rows = {delay: tf.io.parse_example(tf.constant(examples.test), keys) for delay, examples in prepared.items()}
    for delay, columns in rows.items():
        if any(not np.array_equal(columns[key], rows[STALE][key]) for key in keys):
            sys.exit(f"the test split with statistics {delay!r} has other rows than that with {STALE!r}")


def write_spec(delay: str, spec: Path, folder: Path) -> Path:
    """Writes the spec of a PLE with statistics so old, or without any, and returns where."""
    declared = yaml.safe_load(spec.read_text())
    declared["model"] = {**declared.get("model", {}), "routing": SHARED_ROUTING}
    declared["training"] = {**declared.get("training", {}), "reference": False}
    if delay == NONE:
        del declared["statistics"]
        declared["slices"] = [keys for keys in declared["slices"] if not any("." in key for key in keys)]
    else:
        declared["statistics"]["delay"] = delay
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{delay}.yaml"
    path.write_text(yaml.safe_dump(declared))
    return path


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yields the lines of a table: what was trained and served on statistics of a day, and its gain over the others."""
    over = list(rows[0].gains)
    yield f"| task | metric | {named(AS_TRAINED)} | " + " | ".join(f"gain over {name}" for name in over) + " |"
    yield "|---|---|" + "---:|" * (1 + len(over))
    for row in rows:
        gains = " | ".join(str(row.gains[name]) for name in over)
        yield f"| {row.task} | {row.metric} | {row.values[named(AS_TRAINED)]:.4f} | {gains} |"


def named(trained_and_served: tuple[str, str]) -> str:
    delay, served = trained_and_served
    return "no statistics" if delay == NONE else f"{delay}, served {served}"


def shortfalls(task: str, gains: Mapping[str, Gain]) -> Iterator[str]:
    """Yields what doesn't hold on the task."""
    unannounced, without = gains[named(UNANNOUNCED)], gains[named(WITHOUT)]
    if unannounced.value <= unannounced.half_width:
        yield f"{task}: statistics that are staler than trained on cost {unannounced}, expected more than the interval"
    if without.value < -without.half_width:
        yield f"{task}: statistics of a day lose to none: {without}"


if __name__ == "__main__":
    sys.exit(main())
