"""What each part of the ranker is worth: PLE as the spec has it, against PLE with one thing changed.

`python -m benchmarks.ablation`: simulated short videos and KuaiRand, a seed. All train on the train split, stop by the
eval split, and are compared on the test split, each task in its sample space; intervals are paired and by user.
`--variants` names some; with `--keep DIRECTORY` runs and scores are kept, and taken if they are there.

It exits with 1 where PLE as the spec has it is behind a variant by more than its interval, on a task that has enough
positives (`DENSE`): where a part that ships does harm, or one that doesn't ship would help. And where a ranking loss
moves such a task's calibration from what it is by cross-entropy alone by more than `expected.yaml` allows.
"""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks import expectations
from benchmarks.comparison import LIST_METRIC, Calibration, Compared, Row, ScoreFiles, Scores
from benchmarks.data_sets import DATA, DATA_SETS, Logs
from benchmarks.prepared import Prepared, test_scores
from benchmarks.side_by_side import compare_on
from benchmarks.tabular import DENSE
from schema.modelling import SHARED_ROUTING, SINGLE_TASK, RankingLoss
from schema.spec import RankingSpec

AS_SHIPPED = "as shipped"
CROSS_ENTROPY, PAIRWISE, JRC = "cross-entropy alone", "pairwise loss", "JRC"


def without_recipe(spec: RankingSpec) -> RankingSpec:
    """Returns the spec trained by a constant rate, to the last weights, without anything against learning by heart."""
    return spec.with_training(schedule="constant", averaging=0.0, dropout=0.0, id_mask=0.0, weight_decay=0.0)


def without_statistics(spec: RankingSpec) -> RankingSpec:
    """Returns the spec without statistics, and without the slices by these."""
    slices = tuple(keys for keys in spec.slices if not any("." in key for key in keys))
    return spec.model_copy(update={"statistics": None, "slices": slices})


def without_ranking_loss(spec: RankingSpec) -> RankingSpec:
    """Returns the spec trained by cross-entropy alone."""
    return spec.model_copy(update={"training": spec.training.model_copy(update={"ranking_loss": None})})


def ranking_loss(kind: str) -> Callable[[RankingSpec], RankingSpec]:
    """Returns the function from a spec to one with a ranking loss of the default weight."""
    return lambda spec: spec.with_training(ranking_loss=RankingLoss.model_validate({"kind": kind}))


VARIANTS: Mapping[str, Callable[[RankingSpec], RankingSpec]] = {
    AS_SHIPPED: lambda spec: spec,
    "no recipe": without_recipe,
    "no statistics": without_statistics,
    "single task": lambda spec: spec.with_training(routing=SINGLE_TASK),
    "shared bottom": lambda spec: spec.with_training(routing="shared_bottom"),
    "MMoE": lambda spec: spec.with_training(routing="mmoe"),
    "DIN": lambda spec: spec.with_training(bottom="din"),
    "DTRN": lambda spec: spec.with_training(bottom="dtrn"),
    "products": lambda spec: spec.with_training(products=True),
    CROSS_ENTROPY: without_ranking_loss,
    PAIRWISE: ranking_loss("pairwise"),
    JRC: ranking_loss("jrc"),
}


def main() -> int:
    options = arguments()

    def logs_in(folder: Path) -> Iterator[Logs]:
        return (DATA_SETS[name](options.data_folder, folder) for name in options.data)

    score = functools.partial(scored, options.variants)
    return compare_on(logs_in, options.keep, options.seeds, score, table, shortfalls)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rest = [variant for variant in VARIANTS if variant != AS_SHIPPED]
    names = (lambda text: text.split(","), ", ".join(rest))
    parser.add_argument("--data", type=names[0], default=["simulated", "kuairand"], help=", ".join(DATA_SETS))
    parser.add_argument("--data-folder", type=Path, default=DATA, help="has the folders of real logs")
    parser.add_argument("--variants", type=names[0], default=rest, help=names[1])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a directory for runs and scores, which are taken if they are there")
    options = parser.parse_args()
    for option, known in (("data", DATA_SETS), ("variants", VARIANTS)):
        if unknown := set(getattr(options, option)) - set(known):
            parser.error(f"--{option}: expected some of {', '.join(known)}, got {', '.join(sorted(unknown))}")
    return options


def scored(variants: Sequence[str], prepared: Prepared, seed: int, files: ScoreFiles) -> Scores:
    """Trains PLE as the spec has it and each variant of it with the seed; returns their outputs on the test examples.

    A variant that the spec is already isn't trained again.
    """
    shipped = prepared.spec.with_training(routing=SHARED_ROUTING, seed=seed)
    scores: dict[str, np.ndarray] = {}
    for name in (AS_SHIPPED, *variants):
        spec = VARIANTS[name](shipped)
        if name != AS_SHIPPED and spec == shipped:
            continue
        train = functools.partial(_named_scores, name, prepared, spec)
        scores |= files.get(f"{name.replace(' ', '_')}-{seed}", spec.to_json(), train)
        print(f"seed {seed}: {name}", flush=True)
    return scores


def _named_scores(name: str, prepared: Prepared, spec: RankingSpec) -> Scores:
    return {name: test_scores(prepared, spec)}


def table(name: str, rows: Sequence[Row]) -> Iterator[str]:
    """Yields the lines of a table: by task PLE's metric, and by how much each variant is better than it."""
    variants = list(rows[0].gains)
    yield f"\n{name}\n"
    yield f"| task | metric | {AS_SHIPPED} | " + " | ".join(variants) + " |"
    yield "|---|---|" + "---:|" * (1 + len(variants))
    for row in rows:
        changes = " | ".join(str(row.gains[variant].reversed) for variant in variants)
        yield f"| {row.task} | {row.metric} | {row.values[AS_SHIPPED]:.4f} | {changes} |"


def shortfalls(name: str, compared: Compared) -> Iterator[str]:
    yield from better_variants(name, compared.rows)
    yield from moved_calibrations(name, compared.calibrations, expectations.load("ablation")["calibration_moves"])


def better_variants(name: str, rows: Sequence[Row]) -> Iterator[str]:
    """Yields a sentence for each variant that is better on a dense task by more than its interval."""
    for row in rows:
        for variant, gain in row.gains.items():
            if row.positives >= DENSE and gain.value < 0 and gain.is_certain and row.metric != LIST_METRIC:
                yield f"{name}, {row.task}: {row.metric} is better with {variant}: {gain.reversed}"


def moved_calibrations(name: str, calibrations: Sequence[Calibration], allowed: float) -> Iterator[str]:
    """Yields a sentence for each ranking loss and dense task whose calibration by cross-entropy differs by a larger
    share.
    """
    for calibration in calibrations:
        values = calibration.values
        unordered = CROSS_ENTROPY if CROSS_ENTROPY in values else AS_SHIPPED
        for variant in (AS_SHIPPED, PAIRWISE, JRC):
            if calibration.positives < DENSE or variant not in values:
                continue
            moved = values[variant] / values[unordered] - 1
            if abs(moved) > allowed:
                yield (
                    f"{name}, {calibration.task}: calibration moves by {moved:+.1%} with {variant}, "
                    f"allowed are {allowed:.0%}"
                )


if __name__ == "__main__":
    sys.exit(main())
