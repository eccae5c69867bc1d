"""How many impressions of its key a statistic's vector tells of, and whether they grow from train to test."""

import numpy as np

from schema.parts import format_duration
from schema.spec import RankingSpec
from schema.statistics import IMPRESSIONS, Slot, Statistic, slots

# How often the median may be in the test part what it is in the train part.
MOST_GROWTH = 2.0


def impressions_of(spec: RankingSpec, statistic: Statistic, vectors: np.ndarray) -> np.ndarray:
    """Returns [rows]: impressions over the longest span, NaN where the key is missing; `vectors` is [rows, slots]."""
    names = [slot.name for slot in slots(spec, statistic)]
    return vectors[:, names.index(Slot(statistic.name, IMPRESSIONS, longest_span(statistic)).name)]


def longest_span(statistic: Statistic) -> str:
    """Returns the span that forgets least: lifetime, else the longest window, else the longest half-life."""
    if statistic.lifetime:
        return "lifetime"
    if statistic.windows:
        return f"window_{format_duration(max(statistic.windows))}"
    return format_duration(max(statistic.half_lives))


def grows(train: float, test: float) -> bool:
    """Returns whether the medians are too far apart for a model of the one to be asked about the other."""
    return max(train, test, 1.0) > MOST_GROWTH * max(min(train, test), 1.0)
