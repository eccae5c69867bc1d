"""How numbers are written: four digits, `–` for what is undefined, an interval in brackets below its value."""

from evaluation.result import Estimate
from report.elements import Cell, Tone

NONE = "–"
MINUS = "−"


def number(value: float | None, digits: int = 4) -> str:
    """Writes `1,234.5000`."""
    return NONE if value is None or value != value else f"{value:,.{digits}f}".replace("-", MINUS)


def signed(value: float | None, digits: int = 4) -> str:
    """Writes `+1.0000`."""
    return NONE if value is None or value != value else f"{value:+,.{digits}f}".replace("-", MINUS)


def share(value: float | None) -> str:
    """Writes a share of 1 as `12.3%`."""
    return NONE if value is None or value != value else f"{value:.1%}"


def estimate_cell(estimate: Estimate | None, signs: bool = False, tone: Tone = "") -> Cell:
    """Returns the value, and below it the ends of its interval where it has one."""
    if estimate is None:
        return Cell(NONE)
    write = signed if signs else number
    bounded = estimate.low is not None and estimate.high is not None
    detail = f"[{write(estimate.low)}, {write(estimate.high)}]" if bounded else ""
    return Cell(write(estimate.value), estimate.value, tone, detail)


def gain_cell(estimate: Estimate | None) -> Cell:
    """Returns a gain (more is better), in colour where its interval leaves zero out, and only there."""
    return estimate_cell(estimate, signs=True, tone=tone_of(estimate))


def tone_of(gain: Estimate | None) -> Tone:
    """Returns whether the interval leaves zero out, and on which side."""
    if gain is not None and gain.low is not None and gain.low > 0:
        return "good"
    if gain is not None and gain.high is not None and gain.high < 0:
        return "bad"
    return ""


def count_cell(count: int | None) -> Cell:
    """Returns a whole number, with commas."""
    return Cell(NONE if count is None else f"{count:,}", count)
