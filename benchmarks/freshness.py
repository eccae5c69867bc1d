"""What statistics cost that are staler when served than when trained on.

`python -m benchmarks.freshness`: PLE on simulated short videos, its statistics an hour old or a day old at each
example (`statistics.delay`), or without any; a seed. Each is scored on the test split as it was trained, and the one of
an hour also with statistics of a day, as a store would give that is filled once a day and says nothing.

Expected, on the first task by paired intervals by user: what was trained on statistics of a day and is served with
these is ahead of what was trained on fresher ones and is served with these, and not behind a ranker without statistics.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import yaml

import schema
from benchmarks import expectations
from benchmarks.command import fulcrum
from benchmarks.prepared import prepare, trained
from benchmarks.tabular import Row, outcome, plan_of, rows_of

SPEC = Path(schema.__file__).parent / "specs" / "shortvideo.yaml"
USERS, IMPRESSIONS = 2_000, 80_000
FRESH, STALE, NONE = "1h", "1d", "none"
# What was trained on, and what it is served with.
AS_TRAINED, UNANNOUNCED, WITHOUT = (STALE, STALE), (FRESH, STALE), (NONE, NONE)
SERVED = ((FRESH, FRESH), UNANNOUNCED, AS_TRAINED, WITHOUT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--impressions", type=int, default=IMPRESSIONS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a directory for the runs, which are taken if they are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        logs = folder / "logs"
        if not logs.exists():
            size = ("--users", options.users, "--impressions", options.impressions)
            fulcrum("simulate", "--out", logs, *size, "--seed", 1)
        prepared = {delay: prepare(write_spec(delay, folder), logs, folder / delay) for delay in (FRESH, STALE, NONE)}
        scores: dict[tuple[str, str], np.ndarray] = {}
        for delay, examples in prepared.items():
            score = trained(examples, examples.spec.with_training(seed=options.seed))
            for served in {served for of, served in SERVED if of == delay}:
                scores[delay, served] = score(prepared[served].test)
    plan = plan_of(prepared[STALE].spec)

    def gains(reference: tuple[str, str]) -> list[Row]:
        """Returns a row for every task and metric: of `AS_TRAINED`, and its gain over the reference."""
        compared = np.stack([scores[AS_TRAINED], scores[reference], scores[WITHOUT]])
        return list(rows_of(prepared[STALE].spec, plan, [outcome(prepared[STALE], plan, compared)]))

    over = {reference: gains(reference) for reference in SERVED if reference != AS_TRAINED}
    print("\n".join(table(over)), flush=True)
    return expectations.conclude({"test": as_json(over)}, list(shortfalls(over)))


def write_spec(delay: str, folder: Path) -> Path:
    """Writes the short-video spec with statistics so old, or without any."""
    declared = yaml.safe_load(SPEC.read_text())
    if delay == NONE:
        del declared["statistics"]
        declared["slices"] = [keys for keys in declared["slices"] if not any("." in key for key in keys)]
    else:
        declared["statistics"]["delay"] = delay
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{delay}.yaml"
    path.write_text(yaml.safe_dump(declared))
    return path


def table(over: Mapping[tuple[str, str], list[Row]]) -> Iterator[str]:
    """Yields the lines of a table: what was trained and served on statistics of a day, and its gain over the others."""
    yield "| task | metric | trained and served: 1d | gain over " + " | gain over ".join(map(named, over)) + " |"
    yield "|---|---|" + "---:|" * (1 + len(over))
    for rows in zip(*over.values(), strict=True):
        gains = " | ".join(f"{row.gain:+.4f} ± {row.half_width:.4f}" for row in rows)
        yield f"| {rows[0].task} | {rows[0].metric} | {rows[0].values[0]:.4f} | {gains} |"


def named(reference: tuple[str, str]) -> str:
    return "no statistics" if reference == WITHOUT else f"{reference[0]}, served {reference[1]}"


def shortfalls(over: Mapping[tuple[str, str], list[Row]]) -> Iterator[str]:
    """Yields what doesn't hold on the first task."""
    unannounced, without = over[UNANNOUNCED][0], over[WITHOUT][0]
    if unannounced.gain <= unannounced.half_width:
        yield (
            f"{unannounced.task}: statistics that are staler than trained on cost {unannounced.gain:.4f} "
            f"± {unannounced.half_width:.4f}, expected more than the interval"
        )
    if without.gain < -without.half_width:
        yield f"{without.task}: statistics of a day lose {-without.gain:.4f} ± {without.half_width:.4f} against none"


def as_json(over: Mapping[tuple[str, str], list[Row]]) -> dict[str, dict[str, list[float]]]:
    return {
        named(reference): {f"{row.task} {row.metric}": [round(row.gain, 5), round(row.half_width, 5)] for row in rows}
        for reference, rows in over.items()
    }


if __name__ == "__main__":
    sys.exit(main())
