"""Real requests against every signature, and what is wrong with the answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TypeAlias

import numpy as np

from components.serving_validator.checks import (
    EXAMPLES,
    PREDICT,
    RANK,
    SERVING_DEFAULT,
    Outputs,
    agreement_findings,
    output_findings,
    ranking_findings,
)
from components.serving_validator.requests import (
    Inputs,
    Row,
    cold_row,
    combine,
    predict_inputs,
    rank_inputs,
    read_rows,
    write_record,
)
from schema.spec import RankingSpec

# Answers a signature's request, all outputs by name.
Ask: TypeAlias = Callable[[str, Inputs], Outputs]

_USERS = 8
_COMPARED_CANDIDATES = 30


@dataclass(frozen=True)
class Requests:
    """Makes requests of real examples.

    Attributes:
      records: serialised examples, at least one.
      inputs: the names of the inputs of each signature that the model has.
    """

    spec: RankingSpec
    records: Sequence[bytes]
    inputs: Mapping[str, Sequence[str]]
    rows: Sequence[Row] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError("expected at least one example, got none")
        object.__setattr__(self, "rows", read_rows(self.spec, self.records))

    def default(self, records: Sequence[bytes]) -> Inputs:
        return {EXAMPLES: np.array(records, object)}

    def predict(self, rows: Sequence[Row]) -> Inputs:
        return predict_inputs(self.spec, rows, self.inputs[PREDICT])

    def rank(self, user: Row, candidates: Sequence[Row], exponents: Sequence[float] | None = None) -> Inputs:
        return rank_inputs(self.spec, user, candidates, self.inputs[RANK], exponents)

    def users(self, count: int) -> list[Row]:
        """Up to `count` of the rows, evenly apart."""
        places = np.linspace(0, len(self.rows) - 1, min(count, len(self.rows))).astype(int)
        return [self.rows[place] for place in places]

    def candidates(self, count: int, start: int = 0) -> list[Row]:
        """`count` rows from place `start` on, from the beginning again where they end."""
        return list(islice(cycle(self.rows), start % len(self.rows), start % len(self.rows) + count))


def replay(requests: Requests, ask: Ask) -> Iterator[str]:
    """Sends the requests, and yields what is wrong with the answers. What `ask` raises goes through."""
    yield from _replay_predict(requests, ask)
    if RANK in requests.inputs:
        yield from _replay_rank(requests, ask)


def _replay_predict(requests: Requests, ask: Ask) -> Iterator[str]:
    """`predict` gives for named tensors what `serving_default` does for the examples; so does a batch of one."""
    tasks, count = _tasks(requests.spec), len(requests.records)
    reference = ask(SERVING_DEFAULT, requests.default(requests.records))
    findings = output_findings("'serving_default'", tasks, reference, (count, 1))
    if findings:
        yield from findings
        return
    alone = ask(SERVING_DEFAULT, requests.default(requests.records[:1]))
    first = {task: reference[task][:1] for task in tasks}
    yield from agreement_findings("'serving_default' of one example", tasks, alone, first, "that of a batch")
    for rows, expected in ((requests.rows, reference), (requests.rows[:1], first)):
        outputs = ask(PREDICT, requests.predict(rows))
        yield from output_findings("'predict'", tasks, outputs, (len(rows), 1)) or agreement_findings(
            "'predict'", tasks, outputs, expected, "'serving_default'"
        )


def _replay_rank(requests: Requests, ask: Ask) -> Iterator[str]:
    """`rank` gives what `serving_default` does for examples of the user's columns and each candidate's."""
    spec, cold = requests.spec, cold_row(requests.spec)
    own = [task.exponent for task in spec.tasks]
    others = [0.5 + place % 3 for place in range(len(spec.tasks))]
    users = requests.users(_USERS)
    for place, user in enumerate(users):
        candidates = [user, *requests.candidates(_COMPARED_CANDIDATES, place * _COMPARED_CANDIDATES), cold]
        yield from _compare(requests, ask, "'rank'", user, candidates, None, own)
    yield from _compare(requests, ask, "'rank' with exponents", users[0], requests.candidates(10), others, others)
    yield from _compare(requests, ask, "'rank' of one candidate", users[0], requests.candidates(1), None, own)
    yield from _compare(requests, ask, "'rank' of an unknown user", cold, requests.candidates(10), None, own)
    yield from _compare(requests, ask, "'rank' of no candidates", users[0], [], None, own)


def _compare(
    requests: Requests,
    ask: Ask,
    where: str,
    user: Row,
    candidates: Sequence[Row],
    sent: Sequence[float] | None,
    exponents: Sequence[float],
) -> Iterator[str]:
    tasks = _tasks(requests.spec)
    outputs = ask(RANK, requests.rank(user, candidates, sent))
    findings = output_findings(where, tasks, outputs, (len(candidates),))
    if findings:
        yield from findings
        return
    yield from ranking_findings(where, tasks, outputs, exponents)
    if candidates:
        pairs = [write_record(requests.spec, combine(requests.spec, user, one)) for one in candidates]
        reference = ask(SERVING_DEFAULT, requests.default(pairs))
        yield from agreement_findings(where, tasks, outputs, reference, "'serving_default'")


def _tasks(spec: RankingSpec) -> list[str]:
    return [task.name for task in spec.tasks]
