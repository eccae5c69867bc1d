"""Means with their intervals, as SVG."""

import math
from collections.abc import Mapping
from html import escape

import numpy as np

from benchmarks.expectations import interval

ROW, LABELS, WIDTH, TOP, BOTTOM, GAP = 22, 150, 300, 34, 26, 40


def intervals(panels: Mapping[str, Mapping[str, np.ndarray]], zero: bool = False) -> str:
    """Returns panels side by side, in SVG; a row a name in each: every value as a dot, their mean and 95 % interval.

    Args:
      panels: by title, the values by name; the names are those of the first panel.
      zero: whether a line marks 0.
    """
    names = list(next(iter(panels.values())))
    height = TOP + ROW * len(names) + BOTTOM
    width = LABELS + len(panels) * (WIDTH + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>'
    ]
    parts += [_text(LABELS - 10, _row(i) + 4, name, "end") for i, name in enumerate(names)]
    for number, (title, rows) in enumerate(panels.items()):
        parts += _panel(LABELS + number * (WIDTH + GAP), height, title, rows, zero)
    return "\n".join([*parts, "</svg>", ""])


def _panel(left: int, height: int, title: str, rows: Mapping[str, np.ndarray], zero: bool) -> list[str]:
    ends = [values.mean() + sign * interval(values) for values in rows.values() for sign in (-1, 1)]
    everything = np.concatenate([*rows.values(), ends, [0.0] if zero else []])
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    margin = 0.05 * (high - low) or 1.0
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return left + WIDTH * (value - low) / (high - low)

    parts = [_text(left, 16, title, "start")]
    for tick in _ticks(low, high):
        colour = "#333" if zero and tick == 0 else "#ddd"
        parts.append(f'<path d="M{x(tick):.1f} {TOP - 8}V{height - BOTTOM}" stroke="{colour}"/>')
        parts.append(_text(x(tick), height - 8, f"{tick:g}", "middle"))
    for i, values in enumerate(rows.values()):
        y, mean, half = _row(i), float(values.mean()), interval(values)
        dots = [f'<circle cx="{x(value):.1f}" cy="{y}" r="2.5" fill="#9ab"/>' for value in values]
        parts += dots
        if not math.isnan(half):
            parts.append(f'<path d="M{x(mean - half):.1f} {y}H{x(mean + half):.1f}" stroke="#147" stroke-width="2"/>')
        parts.append(f'<circle cx="{x(mean):.1f}" cy="{y}" r="4" fill="#147"/>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Returns round values in the range, three to six of them."""
    step = 10 ** math.floor(math.log10(high - low))
    while (high - low) / step < 3:
        step /= 2
    return [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _row(i: int) -> int:
    return TOP + ROW * i + ROW // 2


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
