import sys

import pytest

from benchmarks import expectations, process_tree, scale
from benchmarks.scale import EVALUATOR, INGEST, SIMULATOR, Cost, Step, figures_of, plan, unmet


def cost(seconds: float = 1.0, cpu_seconds: float = 1.0, rows: int = 1_000_000, peak_gib: float = 1.0) -> Cost:
    return Cost(rows, seconds, cpu_seconds, peak_gib, shuffled_bytes=0, written_bytes=0)


COSTS = {
    Step(SIMULATOR, 1_000_000): cost(),
    Step(INGEST, 1_000_000, 2): cost(seconds=50, cpu_seconds=90),
    Step(INGEST, 1_000_000): cost(seconds=75, cpu_seconds=60),
    Step(SIMULATOR, 10_000_000): cost(rows=10_000_000, peak_gib=2.5),
    Step(INGEST, 10_000_000, 2): cost(cpu_seconds=1_080, rows=10_000_000, peak_gib=5.5),
    Step(EVALUATOR, 1_000_000, 2): cost(seconds=20, cpu_seconds=30),
    Step(EVALUATOR, 1_000_000): cost(seconds=20, cpu_seconds=20),
}


def test_a_step_comes_after_all_that_it_reads():
    steps = plan([10, 20, 30], processes=2, stages_at=20, compare_at=10)
    assert len(set(steps)) == len(steps)
    position = {step: number for number, step in enumerate(steps)}
    for step, number in position.items():
        if step.name != SIMULATOR:
            assert position[Step(SIMULATOR, step.impressions)] < number
        if step.name == EVALUATOR:
            assert position[Step("Trainer", 20)] < number
            assert position[Step(INGEST, step.impressions, 2)] < number
    order = [position[Step(name, 20, 1 if name == "Trainer" else 2)] for name in (INGEST, *scale.BETWEEN, EVALUATOR)]
    assert order == sorted(order)
    alone = {(step.name, step.impressions) for step in steps if step.processes == 1}
    compared = {(name, 10) for name in (INGEST, scale.SHUFFLED_INGEST, EVALUATOR)}
    assert alone == {*((SIMULATOR, size) for size in (10, 20, 30)), *compared, ("Trainer", 20)}


def test_one_size_for_all_runs_no_step_twice():
    steps = plan([10], processes=1, stages_at=10, compare_at=10)
    assert [step.name for step in steps] == [SIMULATOR, INGEST, scale.SHUFFLED_INGEST, *scale.BETWEEN, EVALUATOR]


def test_figures_are_those_of_the_largest_log_and_of_the_processes_compared():
    figures = figures_of(COSTS, compare_at=1_000_000)
    assert figures == pytest.approx(
        {
            "simulate_peak_gib": 2.5,
            "ingest_peak_gib": 5.5,
            # 108 us a row of 90.
            "growth": 1.2,
            "ingest_speed_up": 1.5,
            "ingest_cpu_of_one_process": 1.5,
            "evaluation_speed_up": 1.0,
            "evaluation_cpu_of_one_process": 1.5,
        }
    )
    assert list(unmet(figures, expectations.load("scale"))) == ["simulate_peak_gib: 2.50, expected at most 2"]


def test_without_a_larger_log_nothing_is_said_of_growth():
    costs = {step: taken for step, taken in COSTS.items() if step.impressions == 1_000_000}
    figures = figures_of(costs, compare_at=1_000_000)
    assert "growth" not in figures
    assert not list(unmet(figures, expectations.load("scale")))


def test_memory_and_cpu_time_of_the_processes_below_a_command_are_seen():
    below = """
import time
memory, begin = b"x" * (150 << 20), time.process_time()
while time.process_time() - begin < 1.2: pass
"""
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {below!r}], check=True); print('done')"
    taken = process_tree.run([sys.executable, "-c", program])
    assert taken.printed == "done\n"
    assert 150 / 1024 < taken.peak_gib < 300 / 1024
    assert 0.7 < taken.cpu_seconds_below < 2.5


def test_a_command_that_fails_is_told_with_its_last_words():
    with pytest.raises(RuntimeError, match=r"failed:\n(.*\n)*.*no such thing"):
        process_tree.run([sys.executable, "-c", "raise SystemExit('no such thing')"])
