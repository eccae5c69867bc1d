"""Simulated users who come back after the logs: their requests, and their answers to what a policy shows them.

Policies are compared with common random numbers: who asks, when, what could be shown, and the uniform draws that stand
behind the answer to each candidate (`responses.answers_of`) are the same for all. So two policies differ by what they
show and by what that did to their users, and a policy differs from itself by nothing.

Simplified: the place in the list has no effect, nobody leaves, no item appears or ages, and all others stay away.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simulation.logs import PARAMETERS, log_table
from simulation.responses import DRAWS, State, answers_of, duration_ms, expectations, probabilities
from simulation.traffic import Traffic
from simulation.world import (
    HOUR_MS,
    NETWORK_SHARE,
    NETWORKS,
    START,
    TAB_SHARE,
    TABS,
    Columns,
    Floats,
    Ints,
    World,
    make_world,
)

# Between the impressions of a request.
PAUSE_MS = 20_000
UNLOGGED_NETWORK = 0.05


class PopulationError(ValueError):
    """A folder that `simulate` hasn't written, or one with fewer users or items than are needed."""


@dataclass(frozen=True)
class Requests:
    """Requests of the same moment, one a user.

    Attributes:
      hour: the moment, from the start of the logs on.
      user, tab, network: `(users,)`, indices.
      logged_network: `(users,)`, -1 where it isn't logged.
      candidates: items, distinct for each user, `(users, candidates)`.
      uniforms: what stands behind the answers, `(users, candidates, DRAWS)`.
    """

    hour: int
    user: Ints
    tab: Ints
    network: Ints
    logged_network: Ints
    candidates: Ints
    uniforms: Floats

    @property
    def time_ms(self) -> int:
        """Returns the moment, in ms since 1970."""
        return int(START.timestamp() * 1000) + self.hour * HOUR_MS

    def rows(self, places: Ints) -> Columns:
        """Returns what is shown when each user sees the candidates at `places` `(users, shown)`, a row each."""
        repeated = {"user": self.user, "tab": self.tab, "network": self.network}
        rows = {name: np.repeat(values, places.shape[1]) for name, values in repeated.items()}
        return {**rows, "item": np.take_along_axis(self.candidates, places, axis=1).ravel()}

    def all_places(self) -> Ints:
        """Returns the places of all candidates, `(users, candidates)`."""
        return np.broadcast_to(np.arange(self.candidates.shape[1]), self.candidates.shape)


@dataclass
class Population:
    """The users, as the logs and one policy's impressions have left them at an `hour`."""

    world: World
    state: State
    hour: int

    @classmethod
    def after_logs(cls, folder: Path) -> "Population":
        """Draws the logs of a folder again, to know what they left.

        Raises:
          PopulationError: `simulate` hasn't written the folder.
        """
        try:
            arguments: dict[str, Any] = json.loads((folder / PARAMETERS).read_text())["arguments"]
            seed, impressions, days = (int(arguments[name]) for name in ("seed", "impressions", "days"))
            sizes = int(arguments["users"]), int(arguments["items"])
        except (OSError, ValueError, KeyError, TypeError):
            raise PopulationError(
                f"{folder}: expected logs that `fulcrum simulate` has written, with {PARAMETERS}; there is none to read"
            ) from None
        world = make_world(seed, *sizes, days, float(arguments.get("task_interests", 0.0)))
        traffic = Traffic(world, seed, impressions, days)
        for _ in traffic.hours():
            pass
        return cls(world, traffic.state, 24 * days)

    def copy(self) -> "Population":
        """Returns the same users, for another policy."""
        return Population(self.world, self.state.copy(), self.hour)

    def expectations(self, requests: Requests, places: Ints) -> Columns:
        """Returns what a perfect model says of the candidates at `places`, `(users, shown)` by name.

        The names are those of `responses.expectations`.
        """
        rows = requests.rows(places)
        responses = probabilities(self.world, self._at(requests.hour), rows, requests.hour)
        expected = expectations(responses, duration_ms(self.world, rows["item"]))
        return {name: values.reshape(places.shape) for name, values in expected.items()}

    def answer(self, requests: Requests, places: Ints) -> pa.Table:
        """Shows the candidates at `places` `(users, shown)`, lets the answers act, and returns them as logged."""
        rows = requests.rows(places)
        self.state, self.hour = self._at(requests.hour), requests.hour
        responses = probabilities(self.world, self.state, rows, self.hour)
        uniforms = np.take_along_axis(requests.uniforms, places[:, :, np.newaxis], axis=1).reshape(-1, len(DRAWS))
        answers = answers_of(uniforms, responses, duration_ms(self.world, rows["item"]))
        users, shown = places.shape
        log = {
            "timestamp": requests.time_ms + np.tile(1_000 + PAUSE_MS * np.arange(shown), users),
            **rows,
            "network": np.repeat(requests.logged_network, shown),
            **answers,
        }
        self.state.fade()
        self.state.absorb(self.world, log)
        self.hour += 1
        return log_table(log)

    def _at(self, hour: int) -> State:
        state = self.state.copy()
        state.fade(hour - self.hour)
        return state


def draw_requests(
    world: World, seed: int, first_hour: int, users: int, rounds: int, hours_between: int, candidates: int
) -> Iterator[Requests]:
    """Yields the requests of each round, which depend on no policy.

    Users are drawn once, by their activity; candidates by the items' popularity, for each user and round anew.

    Raises:
      PopulationError: there are fewer users, or items, than asked for.
    """
    for name, count, available in (
        ("users", users, len(world.activity)),
        ("candidates", candidates, len(world.popularity)),
    ):
        if not 1 <= count <= available:
            raise PopulationError(f"{name}: expected 1 to {available:,}, as many as the logs have, got {count:,}")
    rng = np.random.default_rng([seed, 3])
    user = np.sort(rng.choice(len(world.activity), users, replace=False, p=world.activity / world.activity.sum()))
    for round_index in range(rounds):
        hour = first_hour + hours_between * round_index
        network = rng.choice(len(NETWORKS), size=users, p=NETWORK_SHARE)
        yield Requests(
            hour=hour,
            user=user,
            tab=rng.choice(len(TABS), size=users, p=TAB_SHARE),
            network=network,
            logged_network=np.where(rng.random(users) < UNLOGGED_NETWORK, -1, network),
            candidates=_distinct(rng, world.popularity / world.popularity.sum(), (users, candidates)),
            uniforms=rng.random((users, candidates, len(DRAWS))),
        )


def _distinct(rng: np.random.Generator, share: Floats, shape: tuple[int, int]) -> Ints:
    """Draws items for each user, none twice."""
    return np.stack([rng.choice(len(share), shape[1], replace=False, p=share) for _ in range(shape[0])])
