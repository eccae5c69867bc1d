"""The charts of a report, in Altair: plain rows in, Vega-Lite's JSON out.

The data's own words stand only in values of fields, never in a field's name or an expression: they stay text.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from report.elements import Chart

Row = Mapping[str, Any]

_DASHES = [4, 3]
_LIMIT, _GREY = "#d0342c", "#8a939e"
_TONES = {"good": "#14935a", "bad": _LIMIT, "": "#4a86c5"}
_ROW_HEIGHT = 26


def intervals(rows: Sequence[Row], axis: str) -> Chart:
    """Draws each row's value with its interval on one line, the first row on top; zero is marked.

    Args:
      rows: `name`, `value`, and `low`, `high` or None; `limit`, where there is one, is marked. The colour is that of
        `tone`, or of `kind`, where the rows have one.
    """
    chart = _chart(rows)
    names = list(dict.fromkeys(row["name"] for row in rows))
    x = alt.X("value:Q", title=axis, scale=alt.Scale(padding=12), axis=alt.Axis(tickCount=6))
    y = alt.Y("name:N", title=None, sort=names, axis=alt.Axis(grid=True))
    if any(row.get("kind") for row in rows):
        encoding = {"color": alt.Color("kind:N", sort=None), "yOffset": alt.YOffset("kind:N", sort=None)}
    else:
        encoding = {
            "color": alt.Color("tone:N", legend=None, scale=alt.Scale(domain=list(_TONES), range=[*_TONES.values()]))
        }
    tooltip = [alt.Tooltip("name:N"), *_tooltips("value", "low", "high", "limit")]
    zero = alt.Chart(alt.InlineData([{"zero": 0}])).mark_rule(strokeWidth=1)
    layers = [zero.encode(x=alt.X("zero:Q", title=axis))]
    if any(row.get("low") is not None for row in rows):
        ends = chart.mark_rule(strokeWidth=3, opacity=0.55)
        layers.append(ends.encode(x=alt.X("low:Q", title=axis), x2="high:Q", y=y, **encoding))
    layers.append(chart.mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, tooltip=tooltip, **encoding))
    if any(row.get("limit") is not None for row in rows):
        limits = chart.mark_tick(thickness=2, size=18, orient="vertical", color=_LIMIT)
        layers.append(limits.encode(x="limit:Q", y=y, tooltip=tooltip))
    return _finished(alt.layer(*layers), height=_ROW_HEIGHT * len(names))


def seesaw(points: Sequence[Row], x_title: str, y_title: str) -> Chart:
    """Draws a point a model: its gain on one task across, on another up, each with its interval. The origin is no gain.

    Args:
      points: `model`, `x`, `y`, and `x_low`, `x_high`, `y_low`, `y_high` or None.
    """
    numbers = [
        abs(row[key])
        for row in points
        for key in ("x", "y", "x_low", "x_high", "y_low", "y_high")
        if row.get(key) is not None
    ]
    reach = 1.15 * max([*numbers, 1e-4])
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    x = alt.X("x:Q", title=x_title, scale=scale, axis=alt.Axis(tickCount=6))
    y = alt.Y("y:Q", title=y_title, scale=scale)
    corners = [
        {"x": -reach, "x2": 0, "y": 0, "y2": reach, "text": "seesaw", "at_x": -reach / 2, "at_y": reach},
        {"x": 0, "x2": reach, "y": -reach, "y2": 0, "text": "seesaw", "at_x": reach / 2, "at_y": -reach},
    ]
    chart, ground = _chart(points), alt.Chart(alt.InlineData(corners))
    color = alt.Color("model:N", sort=None, legend=None)
    tooltip = [alt.Tooltip("model:N"), *_tooltips("x", "x_low", "x_high", "y", "y_low", "y_high")]
    layers = [
        ground.mark_rect(color="#d55e00", opacity=0.07, aria=False).encode(x=x, x2="x2:Q", y=y, y2="y2:Q"),
        alt.Chart(alt.InlineData([{"zero": 0}])).mark_rule().encode(x=alt.X("zero:Q", scale=scale, title=x_title)),
        alt.Chart(alt.InlineData([{"zero": 0}])).mark_rule().encode(y=alt.Y("zero:Q", scale=scale, title=y_title)),
        ground.mark_text(fontSize=11, opacity=0.75, dy=alt.expr("datum.at_y > 0 ? 12 : -12"), limit=150).encode(
            x="at_x:Q", y="at_y:Q", text="text:N"
        ),
        chart.mark_rule(strokeWidth=2, opacity=0.55).encode(x=alt.X("x_low:Q"), x2="x_high:Q", y="y:Q", color=color),
        chart.mark_rule(strokeWidth=2, opacity=0.55).encode(x="x:Q", y=alt.Y("y_low:Q"), y2="y_high:Q", color=color),
        chart.mark_point(filled=True, size=130, opacity=1).encode(x=x, y=y, color=color, tooltip=tooltip),
        # Away from the nearer edge.
        chart.mark_text(
            align=alt.expr("datum.x > 0 ? 'right' : 'left'"), dx=alt.expr("datum.x > 0 ? -10 : 10"), dy=-10, limit=160
        ).encode(x=x, y=y, text="model:N", color=color),
    ]
    return _finished(alt.layer(*layers), height=380)


def lines(rows: Sequence[Row], x_title: str, y_title: str, **options: Any) -> Chart:
    """Draws a line a series.

    Args:
      rows: `x`, `y`, `series`; `size`, where there is one, makes the points as large as what stands behind them.
      options: `diagonal` draws the line from (0, 0) to (`reach`, `reach`), 1 by default; `unit` has both axes go from 0
        to 1; `steps` marks each value, for an x that counts; `mark_x` marks one place on the x axis.
    """
    chart = _chart(rows)
    unit = alt.Scale(domain=[0, 1]) if options.get("unit") else alt.Scale(zero=False)
    # Whole numbers only, where x counts.
    counted = sorted({row["x"] for row in rows})
    axis = alt.Axis(values=counted, format="d", grid=False) if options.get("steps") else alt.Axis(tickCount=6)
    x = alt.X("x:Q", title=x_title, scale=unit, axis=axis)
    y = alt.Y("y:Q", title=y_title, scale=unit)
    color = alt.Color("series:N", sort=None)
    tooltip = [alt.Tooltip("series:N"), *_tooltips("x", "y", "size")]
    layers: list[alt.Chart] = []
    if options.get("diagonal"):
        ends = [{"x": end, "y": end} for end in (0, options.get("reach", 1))]
        diagonal = alt.Chart(alt.InlineData(ends)).mark_line(strokeDash=_DASHES, strokeWidth=1, color=_GREY)
        layers.append(diagonal.encode(x=x, y=y))
    if options.get("mark_x") is not None:
        layers.append(alt.Chart(alt.InlineData([{"x": options["mark_x"]}])).mark_rule(strokeDash=_DASHES).encode(x=x))
    layers.append(chart.mark_line().encode(x=x, y=y, color=color, order=alt.Order("x:Q")))
    if options.get("steps") or any("size" in row for row in rows):
        size = (
            alt.Size("size:Q", legend=None, scale=alt.Scale(domainMin=0, range=[10, 90]))
            if "size" in rows[0]
            else alt.value(40)
        )
        layers.append(
            chart.mark_point(filled=True, opacity=0.9).encode(x=x, y=y, color=color, size=size, tooltip=tooltip)
        )
    return _finished(alt.layer(*layers), height=options.get("height", 280))


def heat(
    rows: Sequence[Row], x_title: str, y_title: str, around: float | None = None, order: Sequence[str] | None = None
) -> Chart:
    """Draws a field of cells, each with its number: `x`, `y`, `value`, the axes in the rows' order or in that given.

    Colours go from 0 to 1; with `around` they part there, and are full 1 below and 1 above.
    """
    chart = _chart(rows)
    orders = {key: order or list(dict.fromkeys(row[key] for row in rows)) for key in ("x", "y")}
    x = alt.X("x:N", title=x_title, sort=orders["x"], axis=alt.Axis(orient="top", labelAngle=0))
    y = alt.Y("y:N", title=y_title, sort=orders["y"])
    if around is None:
        scale = alt.Scale(domain=[0, 1])
    else:
        scale = alt.Scale(domain=[around - 1, around + 1], domainMid=around, interpolate="rgb", clamp=True)
    color = alt.Color("value:Q", legend=None, scale=scale)
    # Text on a coloured ground: dark on the light colours, light on the full ones.
    full = f"abs(datum.value - {around or 0}) > 0.55"
    cells = chart.mark_rect(cornerRadius=3, stroke="#80808022").encode(
        x=x, y=y, color=color, tooltip=[alt.Tooltip("y:N"), alt.Tooltip("x:N"), *_tooltips("value")]
    )
    text = chart.mark_text().encode(x=x, y=y, text=alt.Text("value:Q", format=".2f"))
    strong = text.transform_filter(full).mark_text(color="#fff", stroke="#0006", strokeWidth=0.4)
    return _finished(alt.layer(cells, text.transform_filter(f"!({full})"), strong), height=34 * len(orders["y"]))


def bars(rows: Sequence[Row], x_title: str, numeric: bool) -> Chart:
    """Draws shares side by side, a colour a series: `x` (a value, or the lower end of a bin), `share`, `series`."""
    chart = _chart(rows)
    color = alt.Color("series:N", sort=None)
    y = alt.Y("share:Q", title="share of the split", axis=alt.Axis(format="%"))
    if numeric:
        x = alt.X("x:Q", title=x_title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
        tooltip = [alt.Tooltip("series:N"), *_tooltips("x", "share")]
        drawn = chart.mark_line(interpolate="step-after").encode(x=x, y=y, color=color, tooltip=tooltip)
        return _finished(drawn, height=220)
    order = list(dict.fromkeys(row["x"] for row in rows))
    x = alt.X("x:N", title=x_title, sort=order, axis=alt.Axis(labelAngle=-40, labelLimit=90))
    tooltip = [alt.Tooltip("series:N"), alt.Tooltip("x:N"), *_tooltips("share")]
    drawn = chart.mark_bar().encode(x=x, xOffset=alt.XOffset("series:N", sort=None), y=y, color=color, tooltip=tooltip)
    return _finished(drawn, height=220)


def _chart(rows: Iterable[Row]) -> alt.Chart:
    return alt.Chart(alt.InlineData([{key: _finite(value) for key, value in row.items()} for row in rows]))


def _finite(value: Any) -> Any:
    """Returns the value; None for what JSON has no number for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tooltips(*names: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:Q", format=".4~f") for name in names]


def _finished(chart: Any, height: int) -> Chart:
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec = chart.properties(width="container", height=height, autosize=fit).to_dict()
    # The page has its own colours, and the version is that of the page's library.
    spec.pop("config", None)
    spec.pop("$schema", None)
    return spec
