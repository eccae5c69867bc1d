"""The statistics of the past: whose there are, how they are spread over the splits, and what each tells by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ingest.statistics.alone import Alone, alone, best, priors_of
from ingest.statistics.impressions import MOST_GROWTH, grows, impressions_of, longest_span
from report import charts
from report.elements import Block, Cell, Chart, Figure, Group, Section, Table
from report.figures import NONE, number, share
from report.material import Material
from report.statistic_rows import MOST_EXAMPLES, StatisticExamples, StatisticRows
from schema.parts import format_duration
from schema.statistics import AGE, Statistic, slots, statistics_of

_DECADES = ("0", "below 1", "1–9", "10–99", "100–999", "1,000–9,999", "10,000 or more")
_JUDGED = ("eval", "test")


@dataclass(frozen=True)
class _Worth:
    """What a statistic's best rate tells of a task by itself, by split; the span is chosen on the first of these."""

    statistic: Statistic
    task: str
    by_split: Mapping[str, Alone]


def section(material: Material) -> Section:
    """Shows each statistic's keys, what its rates tell alone, and the distribution of its slots."""
    signals = material.signals
    if signals is None or not signals.splits:
        why = "The spec declares no statistics, or there are no examples to look at."
        return Section("statistics", "Statistics", [why])
    worth = list(_worth(signals))
    return Section(
        "statistics",
        "Statistics",
        [
            _introduction(signals),
            *_growth(signals),
            *_leaks(worth),
            _key_table(signals),
            *([_alone_table(worth)] if worth else []),
            Figure("How many impressions of its key an example knows of, by split.", _charts(signals), "Statistic"),
            Group("Every slot", [_slot_table(signals)]),
        ],
    )


def _introduction(signals: StatisticExamples) -> str:
    read = ", ".join(f"{len(rows):,} of {split}" for split, rows in signals.splits.items())
    return (
        "A statistic says what had been counted of a key, such as an item or an author, before an impression: how "
        "often it was shown, liked, watched. The model reads these counts and the rates made of them. The figures are "
        f"of {read} examples (of each split at most about {MOST_EXAMPLES:,}, the same number from each file)."
    )


def _growth(signals: StatisticExamples) -> Iterator[Block]:
    """Yields a sentence where counts are small in train because the log begins there."""
    if not {"train", "test"} <= signals.splits.keys():
        return
    grown = []
    for statistic in statistics_of(signals.spec):
        train, test = (_median(_shown(signals, statistic, split)) for split in ("train", "test"))
        if statistic.lifetime and grows(train, test):
            grown.append(f"{statistic.name} ({_short(train)} and {_short(test)})")
    if grown:
        yield (
            f"The median of the impressions since ever differs by more than {MOST_GROWTH:g}× between train and test: "
            f"{', '.join(grown)}. The model learned from other counts than it is asked about; "
            "split.skip or daily folders give the counts time to grow."
        )


def _leaks(worth: list[_Worth]) -> Iterator[Block]:
    for of_task in worth:
        for split, value in of_task.by_split.items():
            if value.leaks:
                yield (
                    f"{of_task.statistic.name} alone has {'an' if value.is_binary else 'a'} {value.measure} of "
                    f"{number(value.value)} for {of_task.task} on {split}: the past can’t know as much. Feedback is "
                    "counted before it can be known; look at the statistic’s delay and at its keys."
                )
                break


def _key_table(signals: StatisticExamples) -> Table:
    numeric = [f"{name}, {split}" for name in ("Key known", "Seen before", "Impressions") for split in signals.splits]
    rows = []
    for statistic in statistics_of(signals.spec):
        shown = {split: _shown(signals, statistic, split) for split in signals.splits}
        delay = f", delay {format_duration(statistic.delay)}" if statistic.delay else ""
        rows.append(
            [
                Cell(
                    statistic.name,
                    detail=f"{' × '.join(statistic.keys)}, every {format_duration(statistic.granularity)}{delay}",
                ),
                *(_share_cell(len(values), len(signals.splits[split])) for split, values in shown.items()),
                *(_share_cell(int((values > 0).sum()), len(values)) for values in shown.values()),
                *(_spread_cell(values) for values in shown.values()),
            ]
        )
    return Table(
        "Of how many examples the key is known, and of these how many had impressions before; the median of their "
        "number, and what one in ten lies above (p90)",
        ("Statistic", *numeric),
        rows,
        numeric=numeric,
    )


def _worth(signals: StatisticExamples) -> Iterator[_Worth]:
    spec = signals.spec
    reference = signals.splits.get("train") or next(iter(signals.splits.values()))
    priors = priors_of(reference.labels, reference.spaces)
    judged = {split: rows for split, rows in signals.splits.items() if split in _JUDGED}
    for statistic in statistics_of(spec):
        values = {
            split: alone(spec, statistic, rows.vectors[statistic.column], rows.labels, rows.spaces, priors)
            for split, rows in judged.items()
        }
        if not values:
            return
        for task, chosen in best(next(iter(values.values()))).items():
            spans = {
                split: next(rate for rate in of_split if (rate.task, rate.span) == (task, chosen.span))
                for split, of_split in values.items()
            }
            yield _Worth(statistic, task, spans)


def _alone_table(worth: list[_Worth]) -> Table:
    splits = list(worth[0].by_split)
    rows = []
    for of_task in worth:
        first = next(iter(of_task.by_split.values()))
        rows.append(
            [
                Cell(of_task.statistic.name),
                Cell(of_task.task),
                Cell(first.span.replace("window_", "last ")),
                Cell(first.measure),
                *(_alone_cell(of_task.by_split[split]) for split in splits),
            ]
        )
    return Table(
        "What a statistic’s smoothed rate tells of a task by itself, without a model: AUC (0.5 is nothing), of a "
        "regression Spearman’s rank correlation (0 is nothing). Of several spans it is the one that is best on "
        f"{splits[0]}",
        ("Statistic", "Task", "Span", "Measure", *splits),
        rows,
        numeric=splits,
        sortable=True,
        filter_by="Task",
    )


def _alone_cell(value: Alone) -> Cell:
    return Cell(number(value.value), None if value.value != value.value else value.value, "bad" if value.leaks else "")


def _slot_table(signals: StatisticExamples) -> Table:
    numeric = list(signals.splits)
    rows = []
    for statistic in statistics_of(signals.spec):
        for index, slot in enumerate(slots(signals.spec, statistic)):
            values = (split_rows.vectors[statistic.column][:, index] for split_rows in signals.splits.values())
            # An age below 0 says that there was none.
            cells = [
                _spread_cell(column[column >= 0] if slot.span == AGE else column[~np.isnan(column)])
                for column in values
            ]
            rows.append([Cell(slot.name), Cell(statistic.name), *cells])
    return Table(
        "Each number of the vectors: its median, with p90, of the examples whose key is known (of an age: where there "
        "was such a row)",
        ("Slot", "Statistic", *numeric),
        rows,
        numeric=numeric,
        sortable=True,
        filter_by="Statistic",
    )


def _charts(signals: StatisticExamples) -> dict[str, Chart]:
    drawn = {}
    for statistic in statistics_of(signals.spec):
        shares = {split: _decades(_shown(signals, statistic, split)) for split in signals.splits}
        rows = [
            {"x": name, "share": of_split[index], "series": split}
            for index, name in enumerate(_DECADES)
            if any(of_split[index] for of_split in shares.values())
            for split, of_split in shares.items()
        ]
        if rows:
            title = f"impressions, {longest_span(statistic).replace('window_', 'last ')}"
            drawn[statistic.name] = charts.bars(rows, title, numeric=False)
    return drawn


def _decades(shown: np.ndarray) -> list[float]:
    """Returns the share of the values in each of `_DECADES`."""
    # Below 1 is what a half-life has left.
    least = np.array([0, np.finfo(np.float64).tiny, 1, 10, 100, 1_000, 10_000])
    decade = np.searchsorted(least, shown, side="right") - 1
    return (np.bincount(decade, minlength=len(_DECADES)) / max(len(shown), 1)).tolist()


def _shown(signals: StatisticExamples, statistic: Statistic, split: str) -> np.ndarray:
    """Returns the impressions over the longest span of the split's examples whose key is known."""
    rows: StatisticRows = signals.splits[split]
    values = impressions_of(signals.spec, statistic, rows.vectors[statistic.column])
    return values[~np.isnan(values)]


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _share_cell(part: int, total: int) -> Cell:
    return Cell(share(part / total), part / total) if total else Cell(NONE)


def _spread_cell(values: np.ndarray) -> Cell:
    if not len(values):
        return Cell(NONE)
    median, most = (float(value) for value in np.quantile(values, (0.5, 0.9)))
    return Cell(_short(median), median, detail=f"p90 {_short(most)}")


def _short(value: float) -> str:
    return number(value, 0 if value == round(value) or value >= 1_000 else 2)
