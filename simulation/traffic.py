"""Who looks at simulated videos when, and at which: the impressions of a log, hour by hour."""

from collections.abc import Iterator

import numpy as np

from simulation.responses import State, draw_answers, duration_ms, expectations, probabilities
from simulation.world import (
    HOUR_MS,
    NETWORK_SHARE,
    NETWORKS,
    RESPONSES,
    START,
    TAB_SHARE,
    TABS,
    Columns,
    Floats,
    Ints,
    World,
)

SESSION_LENGTH = 6.0
HOUR_PROFILE = np.array([3, 2, 1, 1, 1, 2, 3, 4, 4, 4, 4, 5, 6, 5, 4, 4, 5, 6, 8, 9, 10, 10, 8, 5], float)


class Traffic:
    """The impressions of `days` days, drawn by `seed`.

    Attributes:
      state: what they have done to the users, after the hours that were drawn.
    """

    def __init__(self, world: World, seed: int, impressions: int, days: int):
        self.world, self.state = world, State.fresh(world)
        self._rng = np.random.default_rng([seed, 1])
        profile = np.tile(HOUR_PROFILE, days)
        self._rows_of_hour = self._rng.multinomial(impressions, profile / profile.sum())

    def hours(self) -> Iterator[tuple[Columns, Columns]]:
        """Yields what is logged in each hour, and the truth about it, row by row in time order.

        An hour's feedback acts on its user from the next hour on.
        """
        for hour, rows in enumerate(self._rows_of_hour):
            log, truth = _hour(self._rng, self.world, self.state, hour, rows)
            self.state.fade()
            self.state.absorb(self.world, log)
            yield log, truth


def draw_items(rng: np.random.Generator, world: World, shape: tuple[int, ...], hour: int) -> Ints:
    """Draws of the items that are there in an `hour`, by popularity."""
    cumulative = np.cumsum(world.popularity * (world.upload_hour <= hour))
    return np.searchsorted(cumulative, rng.random(shape) * cumulative[-1], side="right")


def _hour(rng: np.random.Generator, world: World, state: State, hour: int, rows: int) -> tuple[Columns, Columns]:
    user, offset_ms = _visits(rng, world.activity, rows)
    item = _shown_items(rng, world, user, hour)
    tab = rng.choice(len(TABS), size=rows, p=TAB_SHARE)
    # Where it isn't logged it acts all the same.
    network = rng.choice(len(NETWORKS), size=rows, p=NETWORK_SHARE)
    shown = {"user": user, "item": item, "tab": tab, "network": network}
    responses, duration = probabilities(world, state, shown, hour), duration_ms(world, item)
    answers = draw_answers(rng, responses, duration)
    log = {
        "timestamp": int(START.timestamp() * 1000) + hour * HOUR_MS + offset_ms,
        **shown,
        "network": np.where(rng.random(rows) < 0.05, -1, network),
        **answers,
    }
    return log, expectations(responses, duration)


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
    """Picks what the service shows: of two items drawn by popularity, mostly the one to the user's taste in clicks."""
    pair = draw_items(rng, world, (2, len(user)), hour)
    user_category = (user, world.category[pair])
    taste = np.sqrt(1 - world.task_interests) * world.taste[user_category]
    if world.task_interests:
        taste += np.sqrt(world.task_interests) * world.own_taste[(*user_category, RESPONSES.index("click"))]
    fit = taste + rng.standard_normal(pair.shape)
    return np.where(fit[0] >= fit[1], pair[0], pair[1])
