"""The bins of the expected calibration error."""

import numpy as np

# Of equal width. Feedback is rare: ten bins would put nearly everything into the first.
ECE_BINS = 100


def calibration_bins(scores: np.ndarray, bins: int = ECE_BINS) -> np.ndarray:
    """The bin of each score in [0, 1], int64 of the same shape; 1 falls into the last one."""
    return np.minimum((np.asarray(scores, np.float64) * bins).astype(np.int64), bins - 1)
