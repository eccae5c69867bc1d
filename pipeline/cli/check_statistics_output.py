"""Prints what `fulcrum check` found of statistics: the tables, and a statistic's numbers by their slots' names."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from ingest.check_report import CheckReport, StatisticSample
from ingest.check_statistics import shown_bytes, shown_median
from schema.parts import format_duration
from schema.spec import RankingSpec
from schema.statistics import AGE, Rate, Statistic, rates_of, slots, sums_of

_NONE = "–"


def statistic_tables(report: CheckReport) -> Iterator[Table | Text]:
    """Yields what is known of the statistics' keys, what each tells alone, and of which rows; nothing without any."""
    if not report.statistics:
        return
    yield Text(f"Statistics, of {report.statistics_rows}")
    yield _key_table(report.statistics)
    yield _alone_table(report)


def _key_table(samples: Sequence[StatisticSample]) -> Table:
    table = Table("", title="Statistics", title_justify="left")
    for name in ("keys", "missing", "seen before", "impressions (median)", "hottest key", "state", "in a year"):
        table.add_column(name, justify="right")
    for sample in samples:
        table.add_row(
            Text(_title(sample.statistic)),
            f"{sample.keys:,}",
            f"{sample.missing:.1%}",
            f"{sample.seen:.1%}",
            shown_median(sample.impressions),
            f"{sample.hottest:.1%}",
            shown_bytes(sample.state_bytes),
            shown_bytes(sample.state_in_a_year),
        )
    return table


def _title(statistic: Statistic) -> str:
    delay = f", delay {format_duration(statistic.delay)}" if statistic.delay else ""
    keys = "" if (statistic.name,) == statistic.keys else f" ({', '.join(statistic.keys)})"
    return f"{statistic.name}{keys} {format_duration(statistic.granularity)}{delay}"


def _alone_table(report: CheckReport) -> Table:
    """A row a statistic, a column a task: the smoothed rate by itself, without a model."""
    title = "Alone: AUC of the best smoothed rate on the later half (ρ: rank correlation)"
    table = Table("", title=title, title_justify="left")
    for task in report.spec.tasks:
        table.add_column(Text(f"{task.name}{' (ρ)' if task.is_regression else ''}"), justify="right")
    for sample in report.statistics:
        cells = [_alone_cell(sample, task.name) for task in report.spec.tasks]
        table.add_row(Text(sample.statistic.name), *cells)
    return table


def _alone_cell(sample: StatisticSample, task: str) -> Text:
    alone = sample.alone.get(task)
    if alone is None or alone.value != alone.value:
        return Text(_NONE)
    return Text(f"{alone.value:.4f}", style="bold red" if alone.leaks else "")


def slot_rows(spec: RankingSpec, statistic: Statistic, vector: Sequence[float]) -> Iterator[tuple[str, str]]:
    """Yields a vector's numbers in words: `author.like`, `3 of 41, 7.3%; half-life 1d 0.6 of 2.2`.

    The longest past comes first, ages last. What others are shares of stands with these.
    """
    values = {(slot.sum, slot.span): value for slot, value in zip(slots(spec, statistic), vector, strict=True)}
    rates = {rate.sum.sum: rate for rate in rates_of(spec, statistic)}
    counts = {rate.count.sum for rate in rates.values()}
    for summed in sums_of(spec, statistic):
        if summed.name not in rates and summed.name in counts:
            continue
        text = "missing"
        if not any(value != value for value in values.values()):
            text = "; ".join(_past_texts(statistic, values, summed.name, rates.get(summed.name)))
        yield f"{statistic.name}.{summed.name}", text


def _past_texts(
    statistic: Statistic, values: Mapping[tuple[str, str], float], name: str, rate: Rate | None
) -> Iterator[str]:
    for number, span in enumerate(reversed(statistic.spans)):
        total = values[name, span]
        if rate is None:
            yield f"{_span_name(span)}{_number(total)}"
            continue
        count = values[rate.count.sum, span]
        yield f"{_span_name(span)}{_number(total)} of {_number(count)}{'' if number else _share(total, count, rate)}"
    if statistic.age:
        age = values[name, AGE]
        yield "never yet" if age < 0 else f"latest {age / 3_600:,.1f}h before"


def _share(total: float, count: float, rate: Rate) -> str:
    if count == 0:
        return ""
    return f", {total / count:.1%}" if rate.is_binary else f", mean {_number(total / count)}"


def _span_name(span: str) -> str:
    if span == "lifetime":
        return ""
    return f"{span.replace('window_', 'last ')} " if span.startswith("window_") else f"half-life {span} "


def _number(value: float) -> str:
    if value == round(value) or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1 else f"{value:.2g}"
