"""The columns of the examples, from TFDV's statistics."""

from collections.abc import Mapping
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from report import charts
from report.elements import Cell, Figure, Table
from report.figures import NONE, count_cell, number, share

Statistics = Mapping[str, statistics_pb2.DatasetFeatureStatistics]

_TOP_VALUES = 12


def column_table(statistics: Statistics) -> Table:
    """Returns a row a column, with what is missing in each split and what the first split holds."""
    first = next(iter(statistics))
    missing = [f"Missing, {split}" for split in statistics]
    rows = []
    for name, column in sorted(_columns(statistics[first]).items()):
        others = [_columns(dataset).get(name) for dataset in statistics.values()]
        rows.append(
            [
                Cell(name),
                Cell(statistics_pb2.FeatureNameStatistics.Type.Name(column.type).lower()),
                *(
                    _missing(of_split, dataset.num_examples)
                    for of_split, dataset in zip(others, statistics.values(), strict=True)
                ),
                count_cell(column.string_stats.unique if column.HasField("string_stats") else None),
                *_moments(column),
                Cell(_most_frequent(column)),
            ]
        )
    numeric = (*missing, "Distinct", "Mean", "Deviation", "Least", "Most")
    return Table(
        f"Every column of the examples; values are those of {first}",
        ("Column", "Type", *numeric, "Most frequent"),
        rows,
        numeric=numeric,
        sortable=True,
        filter_by="Type",
    )


def distributions(statistics: Statistics) -> Figure:
    """Draws a chart a column: its values or its histogram in each split, as shares of the split."""
    by_split = {split: _columns(dataset) for split, dataset in statistics.items()}
    drawn = {}
    for name, column in sorted(next(iter(by_split.values())).items()):
        of_column = {split: columns[name] for split, columns in by_split.items() if name in columns}
        rows = histograms(of_column) if column.HasField("num_stats") else _values(of_column)
        if rows:
            drawn[name] = charts.bars(rows, name, numeric=column.HasField("num_stats"))
    caption = "How a column’s values are distributed in each split; of text, the most frequent values."
    return Figure(caption, drawn, "Column")


def _columns(dataset: statistics_pb2.DatasetFeatureStatistics) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    return {column.name or ".".join(column.path.step): column for column in dataset.features}


def _common(column: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.CommonStatistics:
    return getattr(column, column.WhichOneof("stats")).common_stats


def _missing(column: statistics_pb2.FeatureNameStatistics | None, examples: int) -> Cell:
    if column is None or not examples:
        return Cell(NONE)
    missing_share = 1 - _common(column).num_non_missing / examples
    return Cell(share(missing_share), missing_share)


def _moments(column: statistics_pb2.FeatureNameStatistics) -> list[Cell]:
    if not column.HasField("num_stats"):
        return [Cell(NONE)] * 4
    stats = column.num_stats
    return [Cell(number(value, 3), value) for value in (stats.mean, stats.std_dev, stats.min, stats.max)]


def _most_frequent(column: statistics_pb2.FeatureNameStatistics) -> str:
    values = column.string_stats.top_values if column.HasField("string_stats") else ()
    return ", ".join(value.value for value in values[:3]) or NONE


def _values(by_split: Mapping[str, statistics_pb2.FeatureNameStatistics]) -> list[dict[str, Any]]:
    """Returns the most frequent values of the first split, and their shares in all."""
    shares = {}
    for split, column in by_split.items():
        stats = column.string_stats
        total = max(_common(column).tot_num_values, 1)
        buckets = {bucket.label: bucket.sample_count for bucket in stats.rank_histogram.buckets}
        buckets |= {value.value: value.frequency for value in stats.top_values}
        shares[split] = {label: count / total for label, count in buckets.items()}
    if not shares:
        return []
    first = next(iter(shares.values()))
    labels = sorted(first, key=lambda label: -first[label])[:_TOP_VALUES]
    return [
        {"x": label, "share": share_of[label], "series": split}
        for label in labels
        for split, share_of in shares.items()
        if label in share_of
    ]


def histograms(by_split: Mapping[str, statistics_pb2.FeatureNameStatistics]) -> list[dict[str, Any]]:
    """Returns each split's histogram, as shares by bins of one width: TFDV's are as wide as the split's values say."""
    buckets_by_split = {}
    for split, column in by_split.items():
        for histogram in column.num_stats.histograms:
            if histogram.type == statistics_pb2.Histogram.STANDARD and any(b.sample_count for b in histogram.buckets):
                buckets_by_split[split] = histogram.buckets
    if not buckets_by_split:
        return []
    first = next(iter(buckets_by_split.values()))[0]
    width = first.high_value - first.low_value or 1.0
    rows = []
    for split, buckets in buckets_by_split.items():
        total = sum(bucket.sample_count for bucket in buckets)
        shares = [b.sample_count / total * width / (b.high_value - b.low_value or width) for b in buckets]
        # The last step ends where its bin does.
        places = [*(bucket.low_value for bucket in buckets), buckets[-1].high_value]
        rows += [{"x": x, "share": y, "series": split} for x, y in zip(places, [*shares, shares[-1]], strict=True)]
    return rows
