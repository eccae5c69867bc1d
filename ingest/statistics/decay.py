"""2^(-n g / H), the same bits everywhere: products of a table that `decimal` makes, and no library's `exp`."""

from decimal import Context, Decimal
from functools import lru_cache

import numpy as np

_BITS = 62
# Factors up to this many granularities are looked up.
_LOOKED_UP = 16


@lru_cache(maxsize=64)
def powers(granularity: int, half_life: int) -> tuple[float, ...]:
    """Returns 2^(-2^i g / H) for i = 0, 1, …, each correctly rounded; g and H in the same unit."""
    context = Context(prec=50)
    log = context.multiply(context.ln(Decimal(2)), context.divide(Decimal(granularity), Decimal(half_life)))
    return tuple(float(context.exp(context.multiply(log, Decimal(-(1 << i))))) for i in range(_BITS))


@lru_cache(maxsize=64)
def _table(granularity: int, half_life: int) -> np.ndarray:
    table = np.ones(1)
    for power in powers(granularity, half_life)[:_LOOKED_UP]:
        table = np.concatenate((table, table * power))
    return table


def decay(steps: np.ndarray, granularity: int, half_life: int) -> np.ndarray:
    """Returns 2^(-n g / H) of each n in `steps` (not negative): the product over n's bits, from the lowest on."""
    factors = _table(granularity, half_life)[steps & ((1 << _LOOKED_UP) - 1)]
    high = steps >> _LOOKED_UP
    if high.any():
        for bit, power in enumerate(powers(granularity, half_life)[_LOOKED_UP:]):
            factors = np.where(high >> bit & 1, factors * power, factors)
    return factors
