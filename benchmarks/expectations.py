"""What each benchmark's configurations are expected to reach: `expected.yaml` against what was measured."""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats

FILE = Path(__file__).with_name("expected.yaml")

# Runs of one configuration: (runs, tasks).
Runs = Mapping[str, np.ndarray]


def load(benchmark: str) -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text())[benchmark]


def conclude(figures: Mapping[str, Any], short: Sequence[str]) -> int:
    """Prints a benchmark's one line of JSON, and what falls short as sentences; returns its exit status."""
    print(json.dumps({**figures, "short": short}))
    for sentence in short:
        print(sentence, file=sys.stderr)
    return 1 if short else 0


def regressions(measured: Runs, expected: Mapping[str, Any], tasks: Sequence[str]) -> Iterator[str]:
    """Yields a sentence for each mean that is further below its expected value than its tolerance.

    The tolerance is for as many runs as `expected` names; the mean of fewer ones scatters more, and may be further off
    by the root of their ratio.
    """
    for name, values in measured.items():
        for task, mean in zip(tasks, values.mean(axis=0), strict=True):
            entry = expected["values"].get(name, {}).get(task)
            if entry is None:
                continue
            tolerance = entry["tolerance"] * math.sqrt(max(1.0, expected["runs"] / len(values)))
            if mean < entry["value"] - tolerance:
                yield f"{name}, {task}: {mean:.4f} is more than {tolerance:.4f} below the expected {entry['value']:.4f}"


def interval(values: np.ndarray, confidence: float = 0.95) -> float:
    """Returns half the width of the mean's confidence interval, by Student's t; NaN for a single value."""
    if len(values) < 2:
        return math.nan
    return float(stats.t.ppf(0.5 + confidence / 2, len(values) - 1) * stats.sem(values))


def with_interval(values: np.ndarray, digits: int, sign: bool = False) -> str:
    """Returns the mean and its interval as text: `.9521 ± .0003`."""
    half, form = interval(values), f"{'+' if sign else ''}.{digits}f"
    return f"{values.mean():{form}}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")
