"""Simulated short-video users and items: the known ground truth of simulated logs.

What draws a viewer in is not what holds them: clickbait is played and not finished, a provocative video is commented
and not liked, a long one is liked and not finished. Viewers differ too, and change: what they liked pulls them on for
days, what they saw too much of tires them for hours, so the past of a user says more than the user's id.

This is not a model of any real service; base rates and effects are chosen so that every task can be learnt.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000

CATEGORIES = (
    "animals", "beauty", "comedy", "cooking", "dance", "gaming", "howto", "music", "news", "sports", "travel", "vlog",
)  # fmt: skip
COUNTRIES, COUNTRY_SHARE = ("BR", "DE", "IN", "US"), (0.25, 0.15, 0.35, 0.25)
AGE_BANDS, AGE_SHARE = ("13-17", "18-24", "25-34", "35-49", "50+"), (0.1, 0.3, 0.3, 0.2, 0.1)
DEVICES, DEVICE_SHARE = ("android", "ios", "web"), (0.6, 0.3, 0.1)
TABS, TAB_SHARE = ("for_you", "following", "search"), (0.7, 0.2, 0.1)
NETWORKS, NETWORK_SHARE = ("wifi", "4g", "5g"), (0.6, 0.25, 0.15)
# A tag is likely on an item whose factor is high: what content says of an item that nobody has seen yet.
FACTOR_TAGS = {"quality": "hd", "bait": "mustsee", "provocation": "debate", "usefulness": "tips"}

RESPONSES = ("click", "completion", "like", "share", "comment")
# How far users differ in each response, beyond what is known of them; who comments much likes little.
USER_DEVIATION = (0.6, 0.3, 0.6, 0.5, 0.6)
LIKE_COMMENT_CORRELATION = -0.5

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
# A batch of rows, a column a name.
Columns = dict[str, NDArray]


@dataclass(frozen=True)
class World:
    """The users and the items, with what no log says of them."""

    country: Ints
    age: Ints
    device: Ints
    activity: Floats
    # (users, responses), logits: how freely each user gives each response.
    deviation: Floats
    # (users, categories), unit variance: the tastes that users start from.
    taste: Floats
    # How far each response follows interests of its own, from 0 to 1.
    task_interests: float
    # (users, categories, responses), unit variance: those tastes; without responses where none follows its own.
    own_taste: Floats
    category: Ints
    author: Ints
    duration_s: Floats
    upload_hour: Ints
    popularity: Floats
    # (items, 4), unit variance: quality, bait, provocation, usefulness.
    factors: Floats
    tags: list[str]


def make_world(seed: int, users: int, items: int, days: int, task_interests: float = 0.0) -> World:
    """Draws users and items; half of the items appear in the course of the `days`.

    All but the responses' own tastes is the same at all `task_interests`.
    """
    rng, own_rng = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 2])
    categories = len(CATEGORIES)
    authors = max(1, items // 8)
    category = rng.integers(categories, size=items)
    author = rng.integers(authors, size=items)
    # An item is like its category and its author, and half of it is its own.
    by_category, by_author = rng.standard_normal((categories, 4)), rng.standard_normal((authors, 4))
    individual = rng.standard_normal((items, 4))
    factors = np.sqrt(0.25) * by_category[category] + np.sqrt(0.25) * by_author[author] + np.sqrt(0.5) * individual
    upload_hour = np.maximum(0, rng.integers(-24 * days, 24 * days, size=items))
    # There is always something to show.
    upload_hour[0] = 0
    # Zipf: the r-th most popular item is shown in proportion to 1 / r^0.8.
    popularity = 1.0 / (1.0 + rng.permutation(items)) ** 0.8
    correlated = np.eye(len(RESPONSES))
    like, comment = RESPONSES.index("like"), RESPONSES.index("comment")
    correlated[like, comment] = correlated[comment, like] = LIKE_COMMENT_CORRELATION
    deviation = rng.multivariate_normal(np.zeros(len(RESPONSES)), correlated, size=users) * USER_DEVIATION
    return World(
        country=rng.choice(len(COUNTRIES), size=users, p=COUNTRY_SHARE),
        age=rng.choice(len(AGE_BANDS), size=users, p=AGE_SHARE),
        device=rng.choice(len(DEVICES), size=users, p=DEVICE_SHARE),
        activity=rng.pareto(1.5, size=users) + 0.2,
        deviation=deviation,
        taste=rng.standard_normal((users, categories)),
        task_interests=task_interests,
        own_taste=own_rng.standard_normal((users, categories, len(RESPONSES) if task_interests else 0)),
        category=category,
        author=author,
        duration_s=np.clip(np.round(np.exp(rng.normal(np.log(22), 0.8, size=items)), 1), 4.0, 300.0),
        upload_hour=upload_hour,
        popularity=popularity,
        factors=factors,
        tags=_tags(rng, category, factors),
    )


def _tags(rng: np.random.Generator, category: Ints, factors: Floats) -> list[str]:
    """Draws an author's tags, `a|b|c`: the category often, factors where they show; sometimes nothing."""
    named = rng.random(len(category)) < 0.7
    shown = factors + 0.5 * rng.standard_normal(factors.shape) > 0.6
    names = tuple(FACTOR_TAGS.values())
    return [
        "|".join(([CATEGORIES[category[i]]] if named[i] else []) + [names[j] for j in np.flatnonzero(shown[i])])
        for i in range(len(category))
    ]
