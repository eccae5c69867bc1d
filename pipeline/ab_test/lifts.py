"""How far arms differ in what their users give, with intervals by user."""

from dataclasses import dataclass

import numpy as np

from evaluation.metrics.uncertainty import Interval, degrees_of_freedom, moments, standard_error
from simulation.world import Floats


@dataclass(frozen=True)
class Lift:
    """By which share an arm's total lies above that of the control, with its interval."""

    interval: Interval

    @property
    def value(self) -> float:
        return self.interval.value

    @property
    def half_width(self) -> float:
        return self.interval.half_width()

    @property
    def is_significant(self) -> bool:
        """Returns whether the interval leaves out 0."""
        return abs(self.value) > self.half_width


def lift(arm: Floats, control: Floats) -> Lift:
    """Returns the lift `sum a / sum c - 1` of totals by user, `(users,)`, both of the same users.

    The interval is by user and paired: user u has the influence `(a_u - R c_u) / sum c` on the ratio R of the sums.
    NaN where the control's total is 0.
    """
    total = control.sum()
    if total == 0:
        return Lift(Interval(np.nan, np.nan, np.nan))
    ratio = arm.sum() / total
    sums = moments((arm - ratio * control) / total)
    return Lift(Interval(float(ratio - 1), float(standard_error(sums)), float(degrees_of_freedom(sums))))
