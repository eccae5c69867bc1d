"""Replays real requests against every signature, and says what is wrong with the answers."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from components.serving_validator.checks import Outputs, agreement_findings, output_findings, ranking_findings
from components.serving_validator.sample_requests import SampleRequests, cold_row
from schema.served import PREDICT, RANK, SERVING_DEFAULT
from schema.spec import RankingSpec
from schema.tasks import Domain
from serving.requests import Inputs, Row

# Answers a signature's request, all outputs by name.
Ask: TypeAlias = Callable[[str, Inputs], Outputs]

_USERS = 8
_COMPARED_CANDIDATES = 30


def replay(requests: SampleRequests, ask: Ask) -> Iterator[str]:
    """Sends the requests, and yields what is wrong with the answers. What `ask` raises goes through."""
    yield from _replay_predict(requests, ask)
    if RANK in requests.inputs:
        yield from _replay_rank(requests, ask)


def _replay_predict(requests: SampleRequests, ask: Ask) -> Iterator[str]:
    """Yields where `predict`, or a batch of one, answers otherwise than `serving_default` does for all examples."""
    tasks, count = _tasks(requests.spec), len(requests.records)
    reference = ask(SERVING_DEFAULT, requests.default(requests.records))
    findings = output_findings("'serving_default'", _domains(requests.spec), reference, (count, 1))
    if findings:
        yield from findings
        return
    alone = ask(SERVING_DEFAULT, requests.default(requests.records[:1]))
    first = {task: reference[task][:1] for task in tasks}
    yield from agreement_findings("'serving_default' of one example", tasks, alone, first, "that of a batch")
    for rows, expected in ((requests.rows, reference), (requests.rows[:1], first)):
        outputs = ask(PREDICT, requests.predict(rows))
        yield from output_findings("'predict'", _domains(requests.spec), outputs, (len(rows), 1)) or agreement_findings(
            "'predict'", tasks, outputs, expected, "'serving_default'"
        )


def _replay_rank(requests: SampleRequests, ask: Ask) -> Iterator[str]:
    """Yields where `rank` answers otherwise than `serving_default` for examples of the user and each candidate."""
    spec, cold = requests.spec, cold_row(requests.spec)
    declared = [task.exponent for task in spec.tasks]
    varied = [0.5 + index % 3 if task.takes_exponent else 0.0 for index, task in enumerate(spec.tasks)]
    users = requests.users(_USERS)
    for index, user in enumerate(users):
        candidates = [user, *requests.candidates(_COMPARED_CANDIDATES, index * _COMPARED_CANDIDATES), cold]
        yield from _compare(requests, ask, "'rank'", user, candidates, None, declared)
    yield from _compare(requests, ask, "'rank' with exponents", users[0], requests.candidates(10), varied, varied)
    yield from _compare(requests, ask, "'rank' of one candidate", users[0], requests.candidates(1), None, declared)
    yield from _compare(requests, ask, "'rank' of an unknown user", cold, requests.candidates(10), None, declared)
    yield from _compare(requests, ask, "'rank' of no candidates", users[0], [], None, declared)


def _compare(
    requests: SampleRequests,
    ask: Ask,
    where: str,
    user: Row,
    candidates: Sequence[Row],
    sent: Sequence[float] | None,
    exponents: Sequence[float],
) -> Iterator[str]:
    """Yields what is wrong with one answer of `rank`; `sent` goes with the request, the score is by `exponents`."""
    tasks = _tasks(requests.spec)
    outputs = ask(RANK, requests.rank(user, candidates, sent))
    findings = output_findings(where, _domains(requests.spec), outputs, (len(candidates),))
    if findings:
        yield from findings
        return
    yield from ranking_findings(where, tasks, outputs, exponents)
    if candidates:
        reference = ask(SERVING_DEFAULT, requests.pairs(user, candidates))
        yield from agreement_findings(where, tasks, outputs, reference, "'serving_default'")


def _tasks(spec: RankingSpec) -> list[str]:
    return [task.name for task in spec.tasks]


def _domains(spec: RankingSpec) -> dict[str, Domain]:
    return {task.name: task.domain for task in spec.tasks}
