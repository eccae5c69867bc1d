"""Statistics by their definition, in plain Python: every impression looks at every row. Slow, and easy to believe."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from schema.spec import RankingSpec
from schema.statistics import Statistic, Sum, statistics_of, sums_of

Row = Mapping[str, Any]


def oracle(spec: RankingSpec, rows: Sequence[Row]) -> list[dict[str, list[float]]]:
    """The vectors of each impression, in the order of `rows`.

    Args:
      rows: `time` in ticks, `user`, `request` (where the spec has a column of it), `keys` (by name, None = missing) and
        `adds` (an integer by the name of the sum, `impressions` among them, 1 where the row is one).
    """
    statistics = [(statistic, sums_of(spec, statistic)) for statistic in statistics_of(spec)]
    result = []
    for row in rows:
        if row["adds"]["impressions"]:
            requested_at = request_time(spec, rows, row)
            result.append(
                {
                    statistic.column: _vector(spec, statistic, sums, rows, row, requested_at)
                    for statistic, sums in statistics
                }
            )
    return result


def request_time(spec: RankingSpec, rows: Sequence[Row], row: Row) -> int:
    """The time of the first impression of the request that `row` belongs to, in ticks; at most a day before it."""
    request, ticks = spec.log.request, spec.log.timestamp.ticks_per_second
    start = row["time"]
    if request is None or (request.column and row["request"] is None):
        return start
    mine = [
        impression for impression in rows if impression["user"] == row["user"] and impression["adds"]["impressions"]
    ]
    if request.column:
        mine = [impression for impression in mine if impression["request"] == row["request"]]
    pause = (request.gap or 86_400) * ticks
    for time in sorted({impression["time"] for impression in mine if impression["time"] < row["time"]}, reverse=True):
        if start - time > pause:
            break
        start = time
    return max(start, row["time"] - 86_400 * ticks)


def _vector(
    spec: RankingSpec, statistic: Statistic, sums: Sequence[Sum], rows: Sequence[Row], row: Row, requested_at: int
) -> list[float]:
    ticks = spec.log.timestamp.ticks_per_second
    key = [row["keys"][name] for name in statistic.keys]
    spans = len(statistic.spans) + statistic.age
    if None in key:
        return [float("nan")] * (spans * len(sums))
    grain = statistic.granularity * ticks
    edge = (requested_at - statistic.delay * ticks) // grain * grain
    past = [
        past_row
        for past_row in rows
        if past_row["time"] < edge and [past_row["keys"][name] for name in statistic.keys] == key
    ]
    past.sort(key=lambda past_row: past_row["time"])
    if statistic.expire is not None:
        past = _alive(past, edge, statistic.expire * ticks, grain)
    values: list[float] = []
    for half_life in statistic.half_lives:
        values += [_decayed(past, aggregate, edge, grain, half_life * ticks) for aggregate in sums]
    for window in statistic.windows:
        recent = [past_row for past_row in past if past_row["time"] >= edge - window * ticks]
        values += [
            _scaled(sum(past_row["adds"][aggregate.name] for past_row in recent), aggregate) for aggregate in sums
        ]
    if statistic.lifetime:
        values += [_scaled(sum(past_row["adds"][aggregate.name] for past_row in past), aggregate) for aggregate in sums]
    if statistic.age:
        for aggregate in sums:
            times = [past_row["time"] for past_row in past if past_row["adds"][aggregate.name] > 0]
            values.append((requested_at - max(times)) / ticks if times else -1.0)
    return [float(np.float32(value)) for value in values]


def _alive(past: Sequence[Row], edge: int, expire: int, grain: int) -> list[Row]:
    """The rows since the last edge at which none had come for so long."""
    alive: list[Row] = []
    for row in past:
        tile = row["time"] // grain * grain
        if alive and tile - alive[-1]["time"] // grain * grain > expire:
            alive = []
        alive.append(row)
    return alive if alive and edge - alive[-1]["time"] // grain * grain <= expire else []


def _scaled(total: float, aggregate: Sum) -> float:
    return float(total) / 2**aggregate.bits


def _decayed(past: Sequence[Row], aggregate: Sum, edge: int, grain: int, half_life: int) -> float:
    tiles: dict[int, int] = {}
    for row in past:
        tiles[row["time"] // grain] = tiles.get(row["time"] // grain, 0) + row["adds"][aggregate.name]
    total, last = 0.0, None
    for tile, added in sorted(tiles.items()):
        total = (total * _factor(tile - last, grain, half_life) if last is not None else 0.0) + float(added)
        last = tile
    return _scaled(total * _factor(edge // grain - last, grain, half_life), aggregate) if last is not None else 0.0


def _factor(steps: int, grain: int, half_life: int) -> float:
    factor = 1.0
    with localcontext() as context:
        context.prec = 40
        for bit in range(steps.bit_length()):
            if steps >> bit & 1:
                factor *= float(Decimal(2) ** (-(Decimal(2) ** bit) * grain / half_life))
    return factor
