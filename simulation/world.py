"""Simulated short-video users and items, and what they do: the known ground truth of simulated logs.

What draws a viewer in is not what holds them: clickbait is played and not finished, a provocative video is commented
and not liked, a long one is liked and not finished. Viewers differ too, and change: what they liked pulls them on for
days, what they saw too much of tires them for hours, so the past of a user says more than the user's id.

This is not a model of any real service; base rates and effects are chosen so that every task can be learnt.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, expit

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
INTERCEPT = (0.45, 0.1, -4.0, -4.3, -4.3)
# The logit of each response moves by this much per unit of a signal; factors and taste have unit variance.
EFFECTS: dict[str, tuple[float, ...]] = {
    #               click, completion, like, share, comment
    "quality":      (0.50, 0.60, 0.60, 0.30, -0.10),
    "bait":         (1.30, -0.80, -0.50, 0.20, 0.30),
    "provocation":  (0.25, 0.00, -0.70, 0.30, 1.00),
    "usefulness":   (-0.25, 0.20, 0.20, 0.90, -0.30),
    "length":       (-0.20, -0.80, 0.50, 0.10, 0.20),
    "taste":        (0.80, 0.60, 0.70, 0.40, 0.30),
    "mood":         (0.80, 0.70, 1.20, 0.80, 0.60),
    "fatigue":      (-1.20, -0.80, -0.60, -0.30, 0.00),
    "young":        (0.20, -0.20, 0.60, 0.30, -0.50),
    "ios":          (0.00, 0.10, 0.20, 0.40, 0.00),
    "brazil":       (0.10, 0.00, 0.40, 0.20, 0.40),
    "night":        (0.20, 0.30, 0.00, -0.20, 0.40),
    "wifi":         (0.20, 0.30, 0.00, 0.00, 0.00),
    "following":    (0.40, 0.20, 0.60, 0.10, 0.50),
    "search":       (-0.30, 0.30, -0.30, 0.60, -0.20),
}  # fmt: skip
# How far users differ in each response, beyond what is known of them; who comments much likes little.
USER_DEVIATION = (0.6, 0.3, 0.6, 0.5, 0.6)
LIKE_COMMENT_CORRELATION = -0.5
# The share watched of a played video is Beta with this concentration; from FINISHED on it counts as the whole.
CONCENTRATION = 4.0
FINISHED = 0.95
# Mood fades over days and fatigue over hours (e-folding times).
MOOD_HOURS, FATIGUE_HOURS = 72.0, 8.0
SESSION_LENGTH = 6.0
HOUR_PROFILE = np.array([3, 2, 1, 1, 1, 2, 3, 4, 4, 4, 4, 5, 6, 5, 4, 4, 5, 6, 8, 9, 10, 10, 8, 5], float)

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
    category: Ints
    author: Ints
    duration_s: Floats
    upload_hour: Ints
    popularity: Floats
    # (items, 4), unit variance: quality, bait, provocation, usefulness.
    factors: Floats
    tags: list[str]


def make_world(rng: np.random.Generator, users: int, items: int, days: int) -> World:
    """Draws users and items; half of the items appear in the course of the `days`."""
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


def simulate_days(
    rng: np.random.Generator, world: World, impressions: int, days: int
) -> Iterator[tuple[Columns, Columns]]:
    """Yields what is logged on each day, and the truth about it, row by row in time order.

    An hour's feedback acts on its user from the next hour on.
    """
    profile = np.tile(HOUR_PROFILE, days)
    rows_of_hour = rng.multinomial(impressions, profile / profile.sum())
    mood, fatigue = np.zeros_like(world.taste), np.zeros_like(world.taste)
    logs: list[Columns] = []
    truths: list[Columns] = []
    for hour, rows in enumerate(rows_of_hour):
        log, truth = _hour(rng, world, mood, fatigue, hour, rows)
        mood *= np.exp(-1 / MOOD_HOURS)
        fatigue *= np.exp(-1 / FATIGUE_HOURS)
        user_category = (log["user"], world.category[log["item"]])
        enjoyed = 0.7 * log["like"] + 0.7 * log["share"] + 0.3 * (log["play_ms"] > 0.7 * log["duration_ms"])
        np.add.at(mood, user_category, enjoyed)
        np.add.at(fatigue, user_category, log["clicked"].astype(float))
        logs.append(log)
        truths.append(truth)
        if hour % 24 == 23:
            yield _concatenated(logs), _concatenated(truths)
            logs, truths = [], []


def _concatenated(hours: list[Columns]) -> Columns:
    return {name: np.concatenate([hour[name] for hour in hours]) for name in hours[0]}


def _hour(
    rng: np.random.Generator, world: World, mood: Floats, fatigue: Floats, hour: int, rows: int
) -> tuple[Columns, Columns]:
    user, offset_ms = _visits(rng, world.activity, rows)
    item = _shown_items(rng, world, user, hour)
    category, tab = world.category[item], rng.choice(len(TABS), size=rows, p=TAB_SHARE)
    # Where it isn't logged it acts all the same.
    network = rng.choice(len(NETWORKS), size=rows, p=NETWORK_SHARE)
    duration_ms = np.round(world.duration_s[item] * 1000).astype(np.int64)
    liked, tired = mood[user, category], fatigue[user, category]
    signals = dict(zip(FACTOR_TAGS, world.factors[item].T, strict=True)) | {
        "length": np.log(duration_ms / 22_000) / 0.8,
        "taste": world.taste[user, category],
        "mood": liked / (1 + liked),
        "fatigue": tired / (3 + tired),
        "young": world.age[user] < 2,
        "ios": world.device[user] == DEVICES.index("ios"),
        "brazil": world.country[user] == COUNTRIES.index("BR"),
        "night": np.full(rows, hour % 24 >= 22 or hour % 24 < 5),
        "wifi": network == NETWORKS.index("wifi"),
        "following": tab == TABS.index("following"),
        "search": tab == TABS.index("search"),
    }
    observed = np.stack([signals[name] for name in EFFECTS], axis=1)
    logits = INTERCEPT + observed @ np.array(list(EFFECTS.values())) + world.deviation[user]
    click, completion, like, share, comment = expit(logits).T

    clicked = rng.random(rows) < click
    a, b = CONCENTRATION * completion, CONCENTRATION * (1 - completion)
    watched = rng.beta(a, b)
    finished = watched >= FINISHED
    # Some of those who finish let it play again: the play is longer than the video.
    replay = np.where(rng.random(rows) < 0.3, rng.exponential(0.5, size=rows), 0.0)
    watched = np.where(finished, 1.0 + replay, watched) * clicked
    probabilities = {"like": like, "share": share, "comment": comment}
    feedback = {name: clicked & (rng.random(rows) < probability) for name, probability in probabilities.items()}
    log = {
        "timestamp": int(START.timestamp() * 1000) + hour * HOUR_MS + offset_ms,
        "user": user,
        "item": item,
        "tab": tab,
        "network": np.where(rng.random(rows) < 0.05, -1, network),
        "play_ms": np.round(watched * duration_ms).astype(np.int64),
        "duration_ms": duration_ms,
        "clicked": clicked,
        **feedback,
    }
    truth = {
        "clicked": click,
        # P(play >= 3 s) = P(click) P(Beta >= 3 s / duration); every video is longer than 3 s / FINISHED.
        "view_through": click * (1 - betainc(a, b, 3_000 / duration_ms)),
        # E[min(played, 1) | click] = E[Beta; Beta < FINISHED] + P(Beta >= FINISHED)
        "completion": completion * betainc(a + 1, b, FINISHED) + 1 - betainc(a, b, FINISHED),
        **probabilities,
    }
    return log, truth


def _visits(rng: np.random.Generator, activity: Floats, rows: int) -> tuple[Ints, Ints]:
    """Draws who looks at something in an hour, and how many ms into it, in time order. Users come in sessions."""
    sessions = np.repeat(np.arange(rows), rng.geometric(1 / SESSION_LENGTH, size=rows))[:rows]
    cumulative = np.cumsum(activity)
    visitor = np.searchsorted(cumulative, rng.random(rows) * cumulative[-1], side="right")
    begin = rng.random(rows) * 0.8 * HOUR_MS
    offset = (begin[sessions] + rng.random(rows) * 0.2 * HOUR_MS).astype(np.int64)
    order = np.argsort(offset, kind="stable")
    return visitor[sessions][order], offset[order]


def _shown_items(rng: np.random.Generator, world: World, user: Ints, hour: int) -> Ints:
    """Picks what the service shows: of two items drawn by popularity, mostly the one more to the user's taste."""
    cumulative = np.cumsum(world.popularity * (world.upload_hour <= hour))
    pair = np.searchsorted(cumulative, rng.random((2, len(user))) * cumulative[-1], side="right")
    fit = world.taste[user, world.category[pair]] + rng.standard_normal(pair.shape)
    return np.where(fit[0] >= fit[1], pair[0], pair[1])
