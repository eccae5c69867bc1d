"""Policies: who decides in which order a user's candidates are shown."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from ingest.live_logs import Ask, LiveLogs
from schema.served import RANK, SPEC_FILE
from schema.spec import RankingSpec
from serving import client
from serving.client import Client
from serving.model.errors import ServingError
from serving.model.predict import Limits, find_signature, predict
from serving.model.saved_model import SavedModel
from serving.requests import Inputs, Ranking, exponents, rank_request
from simulation.online import Population, Requests
from simulation.world import NETWORKS, TABS, Floats, Ints

# What a perfect model's 0 counts as in the score, as a served model's does.
_TINY = float(np.finfo(np.float32).tiny)
# The columns of the simulated log that a request knows, and the texts of their values.
_CONTEXT: Mapping[str, tuple[str, ...]] = {"tab": TABS, "network": NETWORKS}


class PolicyError(ValueError):
    """A policy that can't be had as asked for."""


class Policy(ABC):
    """What an arm shows."""

    @abstractmethod
    def order(self, requests: Requests, population: Population) -> Ints:
        """Returns the candidates' places, those to be shown first at the front, `(users, candidates)`."""

    @abstractmethod
    def learn(self, log: pa.Table) -> None:
        """Takes the log of what the arm has shown."""


class RandomPolicy(Policy):
    """Shows candidates in any order, by a seed."""

    def __init__(self, seed: int):
        self._seed = seed

    def order(self, requests: Requests, population: Population) -> Ints:
        rng = np.random.default_rng([self._seed, 4, requests.hour])
        return rng.random(requests.candidates.shape).argsort(axis=1)

    def learn(self, log: pa.Table) -> None:
        """Leaves the policy as it is."""


class OraclePolicy(Policy):
    """Knows the truth, and shows what has the highest fused value: the best list of a request, with no look ahead."""

    def __init__(self, fused: "FusedTruth"):
        self._fused = fused

    def order(self, requests: Requests, population: Population) -> Ints:
        values = self._fused.logarithms(population, requests, requests.all_places())
        return np.argsort(-values, axis=1, kind="stable")

    def learn(self, log: pa.Table) -> None:
        """Leaves the policy as it is: what the log did is in the population."""


class FusedTruth:
    """The fused value `prod_k p_k^w_k` (PLE, eq. 1) of the true expectations, with the exponents of a spec."""

    def __init__(self, spec: RankingSpec):
        self._names = [task.name for task in spec.tasks]
        self._exponents = exponents(spec, {}).astype(np.float64)

    def check(self, population: Population, requests: Requests) -> None:
        """Raises PolicyError where a task isn't one whose truth the simulator knows, by its name."""
        truths = population.expectations(requests, requests.all_places()[:, :1])
        if unknown := [name for name in self._names if name not in truths]:
            raise PolicyError(
                f"task {', '.join(unknown)}: the simulator knows the truth of {', '.join(truths)}, and of no task else"
            )

    def logarithms(self, population: Population, requests: Requests, places: Ints) -> Floats:
        """Returns the logarithm of the fused value of the candidates at `places`, `(users, shown)`."""
        truth = population.expectations(requests, places)
        logarithms = np.log(np.maximum([truth[name] for name in self._names], _TINY))
        return np.tensordot(self._exponents, logarithms, axes=1)


class ModelPolicy(Policy):
    """Shows what a model ranks first by its fused score, asked as in production.

    Requests are built by ingest from the logs and from what the arm has shown since: behaviours, and statistics as of
    the request.

    Args:
      logs: by the spec that the model was trained by.
      rank: answers the inputs of the signature `rank`.
    """

    def __init__(self, logs: LiveLogs, rank: Callable[[Inputs], Ranking]):
        self._logs, self._rank = logs, rank

    def order(self, requests: Requests, population: Population) -> Ints:
        spec = self._logs.spec
        tick = requests.time_ms * spec.log.timestamp.ticks_per_second // 1000
        built = self._logs.requests([_ask(spec, requests, index) for index in range(len(requests.user))], tick)
        return np.stack([self._rank(rank_request(spec, *sides)).order for sides in built])

    def learn(self, log: pa.Table) -> None:
        self._logs = self._logs.with_rows({name: log[name].combine_chunks() for name in log.column_names})


def _ask(spec: RankingSpec, requests: Requests, place: int) -> Ask:
    indices = {"tab": requests.tab[place], "network": requests.logged_network[place]}
    context = {
        feature.name: _CONTEXT[column][indices[column]] if indices[column] >= 0 else None
        for feature in spec.features_of("log")
        if not feature.derive and (column := feature.source_column) in _CONTEXT
    }
    return Ask(f"u{requests.user[place]}", [f"v{item}" for item in requests.candidates[place].tolist()], context)


def served_rank(connection: Client) -> Callable[[Inputs], Ranking]:
    """Returns a function that asks a server."""
    return lambda inputs: client.rank(connection, inputs)


def loaded_rank(model: SavedModel) -> Callable[[Inputs], Ranking]:
    """Returns a function that asks a model in this process."""
    signature = find_signature(model, RANK)
    return lambda inputs: Ranking.of(predict(model, signature, inputs, (), Limits()))


def load_pushed(folder: Path) -> tuple[SavedModel, RankingSpec]:
    """Loads the newest version of a pushed model's folder, or the version that the folder is, and its spec.

    Raises:
      PolicyError: there is none, or none that can rank.
    """
    versions = [path for path in folder.glob("*") if path.name.isdigit() and (path / "saved_model.pb").is_file()]
    version = folder if (folder / "saved_model.pb").is_file() else max(versions, key=_number, default=None)
    if version is None:
        raise PolicyError(f"{folder}: expected a pushed model, a folder of versions or one of them")
    try:
        model = SavedModel(version)
        find_signature(model, RANK)
        return model, RankingSpec.from_json((version / SPEC_FILE).read_text())
    except (ServingError, OSError, ValueError) as error:
        raise PolicyError(f"{version}: {error}") from None


def _number(version: Path) -> int:
    return int(version.name)
