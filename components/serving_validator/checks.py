"""What must hold of a model's answers. Pure: each check returns its findings, a line each, none where all is well."""

from collections.abc import Mapping, Sequence

import numpy as np

from schema import served
from schema.served import EXAMPLES, EXPONENTS, ORDER, PREDICT, RANK, SCORE, SERVING_DEFAULT
from schema.spec import RankingSpec
from schema.tasks import Domain
from serving.model.saved_model import Signature

# How far the outputs for one user and item may lie apart, whichever signature and loader gives them.
TOLERANCE = 1e-5
# Relative: the score is a product of powers in float32, by way of logarithms. Models keep outputs away from 0 before
# they take these, so that the score of smaller ones is theirs to say.
SCORE_TOLERANCE, SMALLEST_OUTPUT = 1e-4, 1e-6
_SMALLEST_SCORE = 1e-37

Outputs = Mapping[str, np.ndarray]


def signature_findings(spec: RankingSpec, signatures: Mapping[str, Signature]) -> list[str]:
    """Names signatures that are missing, take what no request has, or do not give every task.

    A model that reads nothing of the candidates needs no `rank`.
    """
    columns = {column.name: column.side for column in served.request_columns(spec)}
    needed = [SERVING_DEFAULT, PREDICT]
    if PREDICT not in signatures or any(columns.get(name) == "item" for name in signatures[PREDICT].inputs):
        needed.append(RANK)
    missing = [name for name in needed if name not in signatures]
    if missing:
        present = ", ".join(sorted(signatures)) or "none"
        return [f"signature {name!r} is missing; the model has {present}" for name in missing]
    findings = []
    allowed = {SERVING_DEFAULT: {EXAMPLES}, PREDICT: {*columns}, RANK: {*columns, EXPONENTS}}
    for name in needed:
        expected = {tensor.name for tensor in served.outputs(spec, name)}
        if unknown := sorted(signatures[name].inputs.keys() - allowed[name]):
            findings.append(f"signature {name!r} takes {', '.join(unknown)}, which requests do not have")
        if lacking := sorted(expected - signatures[name].outputs.keys()):
            findings.append(f"signature {name!r} has no output {', '.join(lacking)}")
    return findings


def output_findings(where: str, domains: Mapping[str, Domain], outputs: Outputs, shape: tuple[int, ...]) -> list[str]:
    """Names tasks' outputs of another shape than `shape`, or that can't be theirs: not finite, or out of their domain.

    Args:
      domains: the tasks' by name.
    """
    findings = []
    for task, domain in domains.items():
        values = outputs[task]
        if values.shape != shape:
            findings.append(f"{where}: {task} has the shape {list(values.shape)}, expected {list(shape)}")
        elif not np.isfinite(values).all():
            findings.append(f"{where}: {task} is {values[~np.isfinite(values)].flat[0]}, expected a finite number")
        elif values.size and (values.min() < domain.low or values.max() > domain.high):
            findings.append(f"{where}: {task} lies in [{values.min():g}, {values.max():g}], expected {domain}")
    return findings


def agreement_findings(where: str, tasks: Sequence[str], got: Outputs, expected: Outputs, reference: str) -> list[str]:
    """Names tasks whose outputs differ from those of `reference` for the same users and items by more than `TOLERANCE`.

    Where outputs are above 1 it is a share of the task's largest: they are float32.
    """
    findings = []
    for task in tasks:
        ours, theirs = got[task].ravel().astype(np.float64), expected[task].ravel().astype(np.float64)
        if ours.shape != theirs.shape:
            findings.append(f"{where}: {task} has {ours.size} values, {theirs.size} by {reference}")
            continue
        apart = np.abs(ours - theirs) / max(1.0, float(np.abs(theirs).max(initial=0.0)))
        # Written so that NaN is no agreement.
        if not (apart <= TOLERANCE).all():
            worst = int(np.nanargmax(apart)) if not np.isnan(apart).all() else 0
            findings.append(
                f"{where} disagrees with {reference}: {task} is {ours[worst]:.6g}, not {theirs[worst]:.6g}, "
                f"for the same user and item (tolerance {TOLERANCE:g})"
            )
    return findings


def ranking_findings(where: str, tasks: Sequence[str], outputs: Outputs, exponents: Sequence[float]) -> list[str]:
    """Checks that `score` is `prod_k p_k^w_k` (PLE, eq. 1), and `order` all candidates, by descending score.

    What has no power is not read: it may be negative. Which of two equal scores comes first is not looked at: models
    order by logarithms, which tell more of them apart.
    """
    score, order = outputs[SCORE], outputs[ORDER]
    count = outputs[tasks[0]].size
    if score.shape != (count,) or order.shape != (count,):
        shapes = f"{list(score.shape)} and {list(order.shape)}"
        return [f"{where}: score and order have the shapes {shapes}, expected [{count}]"]
    findings = []
    powers = np.asarray(exponents, np.float64)[:, None]
    factors = np.where(powers != 0, np.stack([outputs[task] for task in tasks]).astype(np.float64), 1.0)
    usual = (factors > SMALLEST_OUTPUT).all(axis=0)
    expected = np.exp((powers * np.log(np.where(usual, factors, 1.0))).sum(axis=0))
    wrong = usual & ~np.isclose(score, expected, rtol=SCORE_TOLERANCE, atol=_SMALLEST_SCORE)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        named = ", ".join(f"{task} {power:g}" for task, power in zip(tasks, exponents, strict=True))
        findings.append(f"{where}: score is {score[first]:.6g}, not {expected[first]:.6g}, by the exponents {named}")
    if not np.isfinite(score).all():
        findings.append(f"{where}: score is not finite")
    elif order.dtype.kind != "i" or sorted(order.tolist()) != list(range(count)):
        findings.append(f"{where}: order does not name each of the {count} candidates once")
    elif (np.diff(score[order]) > SCORE_TOLERANCE * np.abs(score[order][:-1])).any():
        findings.append(f"{where}: order is not by descending score")
    return findings


def latency_findings(signature: str, p99_ms: float, limit_ms: float, candidates: int) -> list[str]:
    if p99_ms <= limit_ms:
        return []
    return [f"{signature!r} of {candidates} candidates takes {p99_ms:.3g} ms (p99), above the limit of {limit_ms:g} ms"]
