"""Intervals that respect that the impressions of one user hang together.

The infinitesimal jackknife over users (Efron 1982; for AUC it is the clustered DeLong variance of Obuchowski 1997):
every user u has an influence psi_u on the metric, the derivative by u's weight, and

    variance = U / (U - 1) * sum_u psi_u^2

The influence on a difference of two metrics on the same users is the difference of the influences (paired). The
interval is Student's, with Satterthwaite's degrees of freedom from how unequal the psi_u^2 are, so that a few users
with most of the impressions or positives make it wide. Nothing is drawn at random.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Moments:
    """Sums over users that are merged by adding; arrays of any one shape.

    Attributes:
      users: how many users there are.
      second, fourth: sums of psi^2 and psi^4.
    """

    users: np.ndarray
    second: np.ndarray
    fourth: np.ndarray

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.users + other.users, self.second + other.second, self.fourth + other.fourth)


def moments(influence: np.ndarray, users: np.ndarray | int | None = None) -> Moments:
    """Returns the moments of influences `(…, users)`; `users` says how many, where only some of them count."""
    square = influence**2
    count = np.full(influence.shape[:-1], influence.shape[-1]) if users is None else np.asarray(users)
    return Moments(count, square.sum(axis=-1), (square**2).sum(axis=-1))


def standard_error(sums: Moments) -> np.ndarray:
    """Returns the jackknife's standard error; NaN where there are fewer than two users."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums.users > 1, np.sqrt(sums.second * sums.users / (sums.users - 1.0)), np.nan)


def degrees_of_freedom(sums: Moments) -> np.ndarray:
    """Returns Satterthwaite's: 2 / CV^2 of the variance estimate, a whole number from 1 to users - 1."""
    most = np.maximum(sums.users - 1.0, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        variation = sums.fourth / sums.second**2 - 1.0 / sums.users
        estimate = np.where(variation > 0, 2.0 / variation, most)
    return np.floor(np.clip(estimate, 1.0, most))


@dataclass(frozen=True)
class Interval:
    """A value with its standard error (NaN where there is none to give) and degrees of freedom."""

    value: float
    standard_error: float
    degrees_of_freedom: float

    def half_width(self, confidence: float = CONFIDENCE) -> float:
        """Returns by how much the ends of the interval of this confidence lie beside the value."""
        return float(special.stdtrit(self.degrees_of_freedom, (1 + confidence) / 2)) * self.standard_error

    def __neg__(self) -> "Interval":
        return Interval(-self.value, self.standard_error, self.degrees_of_freedom)
