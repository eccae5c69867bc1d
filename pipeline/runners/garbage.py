"""Says how often Python looks for reference cycles: TFX's import alone makes a million objects that stay."""

import gc


def collect_rarely() -> None:
    """Has the collector run once in 50,000 new objects, not 700; else a third of the time of importing TFX is its."""
    gc.set_threshold(50_000, 20, 50)
