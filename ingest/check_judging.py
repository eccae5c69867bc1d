"""What of a sample and a spec makes evaluation say little: gates that bless nothing, slices and users out of size."""

from collections.abc import Iterator, Mapping

import numpy as np

from ingest.check_report import ColumnSample, Finding
from ingest.timeline import Timelines
from schema.blessing import blessing_doubts
from schema.spec import RankingSpec

# Slices beyond this hold too few impressions each to be judged, and are many to look at.
_MANY_SLICES = 1_000
# Users with more of the impressions widen every interval, which are by user.
_MUCH_OF_ONE_USER = 0.05
# Of few impressions any user has much.
_FEW_IMPRESSIONS = 1_000


def judging_findings(spec: RankingSpec, lines: Timelines, columns: Mapping[str, ColumnSample]) -> Iterator[Finding]:
    """Yields warnings of what evaluation can't bless, break down or bound well."""
    for doubt in blessing_doubts(spec):
        where, _, message = doubt.partition(": ")
        yield Finding("warning", where, message)
    for i, keys in enumerate(spec.slices):
        for j, key in enumerate(keys):
            if key in columns and columns[key].distinct > _MANY_SLICES:
                yield Finding(
                    "warning",
                    f"slices[{i}][{j}]",
                    f"{key!r} has {columns[key].distinct:,} values, a slice each; expected at most {_MANY_SLICES:,}",
                )
    count = np.bincount(lines.user[lines.impressions], minlength=len(lines.users))
    total = int(count.sum())
    heaviest = int(count.argmax()) if total >= _FEW_IMPRESSIONS else 0
    if total >= _FEW_IMPRESSIONS and count[heaviest] > _MUCH_OF_ONE_USER * total:
        yield Finding(
            "warning",
            "log.user",
            f"{lines.users[heaviest].as_py()!r} has {int(count[heaviest]):,} of {total:,} impressions "
            f"({count[heaviest] / total:.1%}): metrics and their intervals, which are by user, depend on this one; "
            "is it a person?",
        )
