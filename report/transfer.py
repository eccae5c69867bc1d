"""What the tasks gain and lose by sharing, in words: the first that a reader of a run asks."""

from dataclasses import dataclass

from evaluation.result import CANDIDATE, REFERENCE, Estimate, Evaluation, Transfer, gain, transfer
from report.elements import Tone
from schema.modelling import SINGLE_TASK

# In the order in which a reader has to know them.
TONES: dict[Transfer, Tone] = {"loses": "bad", "unjudged": "unsure", "equal": "", "gains": "good"}


@dataclass(frozen=True)
class TaskTransfer:
    """A task's verdict against its single-task model, with the gain that it is drawn from."""

    task: str
    verdict: Transfer
    gain: Estimate


def task_transfers(evaluation: Evaluation) -> list[TaskTransfer]:
    """Returns each task's verdict, those that lose first; empty where no reference was evaluated."""
    transfers = []
    for task in evaluation.tasks:
        result = evaluation.result(task.name)
        verdict, estimate = transfer(result, task.metric), gain(result, task.metric)
        if verdict is not None and estimate is not None:
            transfers.append(TaskTransfer(task.name, verdict, estimate))
    order = list(TONES)
    return sorted(transfers, key=lambda of_task: order.index(of_task.verdict))


def transfer_sentence(evaluation: Evaluation) -> str:
    """Returns what sharing did to the tasks, in a sentence; where nobody looked, that, and how to look."""
    transfers = task_transfers(evaluation)
    if transfers:
        counts = {verdict: sum(of_task.verdict == verdict for of_task in transfers) for verdict in TONES}
        several: dict[Transfer, str] = {"loses": "lose", "gains": "gain"}
        words = [(n, verdict if n == 1 else several.get(verdict, verdict)) for verdict, n in counts.items() if n]
        counted = ", ".join(f"{count} {word}" for count, word in words)
        return f"Of {len(transfers)} tasks against their single-task models: {counted}."
    candidate = evaluation.model(CANDIDATE)
    if candidate is not None and candidate.routing == SINGLE_TASK:
        return "This is a single-task model: its tasks share nothing, so none can lose by sharing."
    if len(evaluation.tasks) == 1:
        return "There is one task, which shares nothing."
    if (reference := evaluation.model(REFERENCE)) is not None:
        why = "; ".join(f"{task}: {reason}" for task, reason in reference.not_compared.items())
        return f"Nobody knows whether tasks lose by sharing: the single-task model can't be compared with ({why})."
    return (
        "Nobody looked whether tasks lose by sharing: no single-task reference was trained. "
        "`training: {reference: true}` in the spec trains one."
    )
