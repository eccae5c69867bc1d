"""What each row of the log adds to a statistic's sums: integers."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from schema.statistics import Sum

# The largest value that counts as itself, in units of the fixed point: a million rows of it fit into 64 bits.
_LARGEST = float(1 << 43)


def fixed_point(values: np.ndarray, bits: int) -> np.ndarray:
    """Returns float values as int64 with `bits` bits behind the point, rounded half to even; NaN is 0."""
    scaled = np.clip(np.nan_to_num(values.astype(np.float64)) * (1 << bits), -_LARGEST, _LARGEST)
    return np.rint(scaled).astype(np.int64)


def row_sums(sums: Sequence[Sum], rows: pa.Table, events: Sequence[str]) -> np.ndarray:
    """Returns int64 [rows, sums].

    Args:
      rows: as `ingest.rows.parse` gives them.
      events: `ingest.rows.events_of`; empty in layout impressions.
    """
    result = np.empty((rows.num_rows, len(sums)), np.int64)
    event = rows["event"].to_numpy() if events else None
    for column, sum_ in enumerate(sums):
        if event is not None:
            name = events[0] if sum_.condition is None else str(sum_.condition.event)
            result[:, column] = event == events.index(name)
        elif sum_.role == "impressions":
            result[:, column] = 1
        elif sum_.role == "label":
            label = rows[f"label:{sum_.name}"].to_numpy()
            result[:, column] = fixed_point(label, sum_.bits) if sum_.bits else label
        else:
            result[:, column] = rows[f"sum:{sum_.name}"].to_numpy()
    return result


def scales(sums: Sequence[Sum]) -> np.ndarray:
    """Returns float64 [sums]: what one unit of the fixed point is worth."""
    return np.array([2.0**-sum_.bits for sum_ in sums])
