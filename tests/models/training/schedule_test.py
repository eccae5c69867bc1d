import math

import pytest

from models.training.schedule import RateSchedule, rate_of
from schema.modelling import Training


def rates(schedule: str, warmup: int, steps: int) -> list[float]:
    at = RateSchedule(0.8, schedule, warmup, steps)
    return [float(at(step)) for step in range(steps + 2)]


@pytest.mark.parametrize(
    ("schedule", "warmup", "steps", "expected"),
    [
        ("linear", 0, 4, [0.8, 0.6, 0.4, 0.2, 0.0, 0.0]),
        # Two steps of rise, and the fall begins with the third.
        ("linear", 2, 6, [0.4, 0.8, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0]),
        ("constant", 4, 4, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8]),
        ("cosine", 1, 4, [0.8, 0.8, 0.4 * (1 + 0.5), 0.4 * (1 - 0.5), 0.0, 0.0]),
        ("cosine", 0, 4, [0.8, 0.4 * (1 + math.sqrt(0.5)), 0.4, 0.4 * (1 - math.sqrt(0.5)), 0.0, 0.0]),
    ],
)
def test_the_rate_rises_and_falls_as_worked_out_by_hand(schedule, warmup, steps, expected):
    assert rates(schedule, warmup, steps) == pytest.approx(expected, abs=1e-6)


def test_warmup_is_a_share_below_1_and_a_number_of_steps_from_1_on():
    assert rate_of(Training(schedule="linear", warmup=0.1), 0.8, 200).warmup == 20
    assert rate_of(Training(warmup=30), 0.8, 200).warmup == 30
    assert rate_of(Training(schedule="cosine"), 0.8, 200).get_config() == {
        "rate": 0.8,
        "schedule": "cosine",
        "warmup": 0,
        "steps": 200,
    }


def test_a_constant_rate_without_warmup_is_a_number():
    assert rate_of(Training(schedule="constant"), 0.8, 200) == 0.8


def test_a_warmup_of_one_step_and_a_half_is_refused():
    with pytest.raises(ValueError, match=r"a share of the steps below 1, or a whole number of steps, got 1.5"):
        Training(warmup=1.5)
