"""Runs the arms of an A/B test side by side on the same requests, and keeps what each user gives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ingest.live_logs import LiveLogs
from pipeline.ab_test.lifts import Lift, lift
from pipeline.ab_test.policies import FusedTruth, Policy
from schema.spec import RankingSpec
from simulation.online import Population, Requests
from simulation.world import Floats, Ints

# The total beside the tasks': of the fused value that the truth expects of what was shown.
FUSED = "fused"


@dataclass(frozen=True)
class Totals:
    """What users have given under each arm.

    Attributes:
      outcomes: the tasks, and FUSED.
      by_user: by arm, `(users, outcomes)`.
      impressions: of each arm.
    """

    outcomes: tuple[str, ...]
    by_user: Mapping[str, Floats]
    impressions: int

    def lifts(self, arm: str, control: str) -> dict[str, Lift]:
        """Returns the arm's lift over the control in each outcome."""
        columns = zip(self.outcomes, self.by_user[arm].T, self.by_user[control].T, strict=True)
        return {outcome: lift(arm_totals, control_totals) for outcome, arm_totals, control_totals in columns}

    def total(self, arm: str, outcome: str) -> float:
        return float(self.by_user[arm][:, self.outcomes.index(outcome)].sum())


def run(
    spec: RankingSpec,
    logs: LiveLogs,
    population: Population,
    rounds: Iterable[Requests],
    arms: Mapping[str, Policy],
    shown: int,
) -> Totals:
    """Returns what the users give when each arm shows the first `shown` of each request's candidates.

    Each arm has its own copy of the `population`, which carries on by what that arm has shown. A task's total is the
    sum of its labels in its sample space, as the spec has them; that of FUSED the sum of the true expectations of the
    fused value.

    Args:
      logs: of `spec`, by which the arms' rows are read.
    """
    outcomes = (*(task.name for task in spec.tasks), FUSED)
    fused, populations = FusedTruth(spec), {name: population.copy() for name in arms}
    by_user: dict[str, Floats] = {}
    impressions = 0
    for requests in rounds:
        for name, policy in arms.items():
            people = populations[name]
            places = policy.order(requests, people)[:, :shown]
            expected = np.exp(fused.logarithms(people, requests, places)).sum(axis=1, keepdims=True)
            log = people.answer(requests, places)
            policy.learn(log)
            totals = np.hstack([_labels(spec, logs, log, places), expected])
            by_user[name] = by_user[name] + totals if name in by_user else totals
        impressions += places.size
    return Totals(outcomes, by_user, impressions)


def _labels(spec: RankingSpec, logs: LiveLogs, log: pa.Table, places: Ints) -> Floats:
    """Returns the sum of each task's labels in its sample space, by user, `(users, tasks)`."""
    rows = logs.typed({name: log[name].combine_chunks() for name in log.column_names})
    labels = [
        np.where(rows[f"space:{task.name}"].to_numpy(), rows[f"label:{task.name}"].to_numpy(), 0.0)
        for task in spec.tasks
    ]
    return np.stack([values.reshape(places.shape).sum(axis=1) for values in labels], axis=1)
