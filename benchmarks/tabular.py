"""The ranker against LightGBM on the same examples, and against the networks that it chooses from, task by task.

`python -m benchmarks.tabular`: simulated short videos, KuaiRand, its most active users, Deskdrop and Census-Income, 3
seeds. All train on the train split, stop by the eval split, and are compared on the test split, each task in its sample
space; LightGBM with the ranker's statistics and without. Logs of your own:

    python -m benchmarks.tabular --spec SPEC --logs DIRECTORY --keep DIRECTORY

It exits with 1 where the ranker is behind LightGBM with statistics or behind single task by more than its interval, on
any task and metric. On the logs that `expected.yaml` names it also has to be ahead of LightGBM with statistics on each
task that has enough positives (`DENSE`), by AUC or MSE, and in their mean AUC by as much as stands there.
"""

import argparse
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks import expectations, trees
from benchmarks.comparison import LIST_METRIC, Compared, Row, ScoreFiles, Scores
from benchmarks.data_sets import DATA, DATA_SETS, Logs
from benchmarks.prepared import Prepared, networks
from benchmarks.side_by_side import compare_on
from schema.modelling import AUTO_ROUTING, SINGLE_TASK
from schema.spec import RankingSpec

TREES, TREES_ALONE = "LightGBM + statistics", "LightGBM"
# Positives in the test split, from which on a task's figure is expected to hold.
DENSE = 300


def main() -> int:
    options = arguments()

    def score(prepared: Prepared, seed: int, files: ScoreFiles) -> Scores:
        return scored(prepared, judged(prepared.spec, options), seed, files)

    logs_in = functools.partial(chosen_logs, options)
    return compare_on(logs_in, options.keep, options.seeds, score, table, shortfalls)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=lambda text: text.split(","), default=list(DATA_SETS), help=", ".join(DATA_SETS))
    parser.add_argument(
        "--data-folder",
        type=Path,
        default=DATA,
        help="has the folders of real logs: kuairand, deskdrop, census_income",
    )
    parser.add_argument("--spec", type=Path, help="a spec, instead of --data")
    parser.add_argument("--logs", type=Path, help="the logs of --spec")
    parser.add_argument("--routing", help="instead of auto, or of what --spec says")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a directory for runs and scores, which are taken if they are there")
    options = parser.parse_args()
    if (options.spec is None) != (options.logs is None):
        parser.error("--spec and --logs go together")
    if unknown := set(options.data) - set(DATA_SETS):
        parser.error(f"--data: expected some of {', '.join(DATA_SETS)}, got {', '.join(sorted(unknown))}")
    return options


def chosen_logs(options: argparse.Namespace, folder: Path) -> Iterator[Logs]:
    if options.spec:
        yield Logs(options.spec.stem, options.spec, options.logs)
        return
    for name in options.data:
        yield DATA_SETS[name](options.data_folder, folder)


def judged(spec: RankingSpec, options: argparse.Namespace) -> RankingSpec:
    """Returns the spec by the routing that is judged: the option's, else what `--spec` says, else `auto`."""
    routing = options.routing or (spec.model.routing if options.spec else AUTO_ROUTING)
    return spec.with_training(routing=routing)


def scored(prepared: Prepared, spec: RankingSpec, seed: int, files: ScoreFiles) -> Scores:
    """Trains all with the seed, and returns their outputs on the test examples; the ranker's come first."""
    seeded = spec.with_training(seed=seed)
    ours = files.get(
        f"{spec.model.routing}-{seed}",
        seeded.to_json(),
        lambda: {name: score(prepared.test) for name, score in networks(prepared, seeded).items()},
    )
    theirs = files.get(f"trees-{seed}", trees.settings(prepared.spec), lambda: _trees(prepared, seed))
    return {**ours, **theirs}


def _trees(prepared: Prepared, seed: int) -> Scores:
    train, evaluation, test = (
        trees.read_split([f"{prepared.examples}/Split-{name}/*"], name, prepared.spec)
        for name in ("train", "eval", "test")
    )
    variants = {TREES: True, TREES_ALONE: False} if prepared.spec.statistics else {TREES: False}
    return {
        name: trees.scores(train, evaluation, test, prepared.spec, statistics=statistics, seed=seed)
        for name, statistics in variants.items()
    }


def table(name: str, rows: list[Row]) -> Iterator[str]:
    """Yields the lines of a table: the metrics of all, and the ranker's gains over trees and single task."""
    models = list(rows[0].values)
    over = [model for model in (TREES, SINGLE_TASK) if model in rows[0].gains]
    yield f"\n{name}\n"
    yield f"| task | metric | {' | '.join(models)} | {' | '.join(f'gain over {model}' for model in over)} |"
    yield "|---|---|" + "---:|" * (len(models) + len(over))
    for row in rows:
        values = " | ".join(f"{value:.4f}" for value in row.values.values())
        yield f"| {row.task} | {row.metric} | {values} | {' | '.join(str(row.gains[model]) for model in over)} |"


def shortfalls(name: str, compared: Compared) -> Iterator[str]:
    yield from losses(name, compared.rows)
    expected = expectations.load("tabular")
    if name in expected["ahead_on"]:
        yield from missing_gains(name, compared.rows, expected["mean_auc_gain"])


def losses(name: str, rows: list[Row]) -> Iterator[str]:
    """Yields a sentence for each metric of a task that is behind a reference by more than its interval."""
    for row in rows:
        for reference in (TREES, SINGLE_TASK):
            gain = row.gains.get(reference)
            if gain and gain.value < 0 and gain.is_certain:
                yield f"{name}, {row.task}: {row.metric} is {-gain.value:.4f} behind {reference}, beyond its interval"


def missing_gains(name: str, rows: list[Row], mean_auc_gain: float) -> Iterator[str]:
    """Yields a sentence for each dense task that gains nothing over LightGBM, and one if the mean gain is too low."""
    # Of logs whose requests hold one impression each the list metric says little.
    dense = [row for row in rows if row.positives >= DENSE and row.metric != LIST_METRIC]
    for row in dense:
        gain = row.gains[TREES].value
        if gain <= 0:
            yield f"{name}, {row.task}: {row.metric} gains {gain:+.4f} over {TREES}, expected more than 0"
    gains = [row.gains[TREES].value for row in dense if row.metric == "auc"]
    if gains and (mean := sum(gains) / len(gains)) < mean_auc_gain:
        yield f"{name}: the dense tasks' AUC gains {mean:+.4f} over {TREES} in the mean, expected {mean_auc_gain}"


if __name__ == "__main__":
    sys.exit(main())
