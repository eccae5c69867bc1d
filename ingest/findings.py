"""What ingest counted and found wrong: sums that merge in any order, the verdict on them, the summary for people."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.io.filesystems import FileSystems

from ingest.absent import AbsentColumns
from ingest.duplicates import REASON, EqualRow, counts_of, refused
from ingest.ripeness import Span, ripe_until, split_times, together
from ingest.rows import Unused
from ingest.time_split import SPLITS, TimeCounts, cut_times, first_time
from schema.spec import RankingSpec

# The counts of a run, in the folder of its `quarantine` artifact.
SUMMARY = "summary.json"

_SAMPLES = 5
_MOST_NAMES = 1_000


@dataclass
class Findings:
    """Counts by a tuple of names, sentences that stop the run, and the first bad rows (source, file, row, reason)."""

    counts: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    samples: list[tuple[str, str, int, str]] = field(default_factory=list)
    # By source and column: how a file says that it lacks it.
    absent: dict[tuple[str, str], str] = field(default_factory=dict)
    # The first rows of the log that are equal to one before them.
    equal_rows: list[EqualRow] = field(default_factory=list)
    # When the log's impressions begin, and when it ends.
    span: Span | None = None

    def count_absent(self, source: str, columns: AbsentColumns) -> None:
        """Counts a source's files with rows, and those that lack a column."""
        self.counts["with_rows", source] += len(columns.files)
        for column, files in columns.lacking.items():
            self.counts["absent", source, column] += len(files)
            self.absent[source, column] = columns.sentences[column]

    def count_unused(self, source: str, unused: Unused) -> None:
        """Counts the rows of a source that are of no use to the spec."""
        self.counts.update({("unused", name[:100]): n for name, n in unused.events.items()})
        self.counts.update({("left_out", source, reason): n for reason, n in unused.reasons.items()})

    def count_duplicates(self, equal_rows: list[EqualRow]) -> None:
        """Counts rows of the log that are equal to one before them."""
        self.counts.update({("left_out", "log", reason): n for reason, n in counts_of(equal_rows).items()})
        self.equal_rows = sorted(equal_rows)[:1]

    def add(self, findings: "Findings") -> "Findings":
        self.counts.update(findings.counts)
        # Names come from the logs: a broken log must not fill the memory with them.
        if len(self.counts) > 2 * _MOST_NAMES:
            counts = dict(self.counts.most_common(_MOST_NAMES))
            for key, count in self.counts.items():
                if key not in counts:
                    short = (*key[:-1], "…") if key[0] in ("bad", "unused", "left_out") else key
                    counts[short] = counts.get(short, 0) + count
            self.counts = Counter(counts)
        self.problems = sorted({*self.problems, *findings.problems})
        self.samples = sorted([*self.samples, *findings.samples])[:_SAMPLES]
        self.span = together([self.span, findings.span])
        self.equal_rows = sorted([*self.equal_rows, *findings.equal_rows])[:1]
        self.absent = {
            key: min(sentences[key] for sentences in (self.absent, findings.absent) if key in sentences)
            for key in sorted({*self.absent, *findings.absent})
        }
        return self


class MergeFindings(beam.CombineFn):
    """Sums `Findings`."""

    def create_accumulator(self) -> Findings:
        return Findings()

    def add_input(self, accumulator: Findings, element: Findings) -> Findings:
        return accumulator.add(element)

    def merge_accumulators(self, accumulators: Iterable[Findings]) -> Findings:
        total = Findings()
        for accumulator in accumulators:
            total.add(accumulator)
        return total

    def extract_output(self, accumulator: Findings) -> Findings:
        return accumulator


@dataclass(frozen=True)
class Verdict:
    """Whether examples are worth writing, known before any is written; `cuts` are the times of eval and test.

    Impressions before `first` become no examples; of those after `ripe_until` feedback may still come (None: of none).
    """

    problems: tuple[str, ...]
    cuts: tuple[int, int]
    impressions: dict[str, int]
    first: int = -(1 << 63)
    ripe_until: int | None = None


def judge(spec: RankingSpec, read: Findings, times: TimeCounts) -> Verdict:
    """Returns the verdict on what was read: unreadable files, too many bad rows, or a split without impressions."""
    problems = list(read.problems)
    problems += [
        sentence
        for (source, column), sentence in read.absent.items()
        if read.counts["absent", source, column] == read.counts["with_rows", source]
    ]
    if read.equal_rows and spec.log.duplicates == "error":
        problems.append(refused(read.counts["left_out", "log", REASON], read.equal_rows[0]))
    until = ripe_until(spec, read.span)
    times = split_times(spec, times, until)
    cuts, impressions = cut_times(spec.split, times)
    begin, skipped = first_time(spec.split, times)
    impressions["train"] -= skipped
    for source in ("log", "users", "items"):
        rows, bad = read.counts["rows", source], sum(_of(read.counts, "bad", source).values())
        if rows and bad / rows > spec.log.max_bad_rows:
            reasons = "; ".join(
                f"{n:,} times {reason!r}" for reason, n in _of(read.counts, "bad", source).most_common(3)
            )
            first = "; ".join(f"{file} row {row}: {why}" for where, file, row, why in read.samples if where == source)
            problems.append(
                f"{source}: {bad:,} of {rows:,} rows ({bad / rows:.1%}) can't be used, and log.max_bad_rows allows "
                f"{spec.log.max_bad_rows:.1%}: {reasons}. The first: {first}"
            )
    if problems:
        return Verdict(tuple(problems), cuts, impressions, begin, until)
    if not sum(impressions.values()):
        opens = f"no row has {spec.log.event} = {spec.log.impression!r}" if spec.log.event else "no row is left"
        unused = _of(read.counts, "unused", None)
        unused_events = (
            f"; the events in it that the spec doesn't use: {dict(unused.most_common(10))}" if unused else ""
        )
        left_out = _of(read.counts, "left_out", "log")
        unused_rows = f"; the rows of it that the spec leaves out: {dict(left_out.most_common(10))}" if left_out else ""
        number = f"{read.counts['rows', 'log']:,}"
        problems.append(f"log: there are no impressions in {number} rows: {opens}{unused_events}{unused_rows}")
    elif min(impressions.values()) == 0:
        empty = " and ".join(name for name in SPLITS if impressions[name] == 0)
        held = ", ".join(f"{name} {count:,}" for name, count in impressions.items())
        at = " and ".join(format_time(spec, cut) for cut in cuts)
        ripe = "" if until is None else " whose feedback is complete (log.unripe)"
        stay = f"cut at {at}; equal times stay" if spec.split.by == "time" else "a user's impressions stay"
        problems.append(
            f"split: by {spec.split.by}, eval {spec.split.eval:g} and test {spec.split.test:g} leave {empty} empty: "
            f"{held} impressions{ripe}, {stay} together"
        )
    return Verdict(tuple(problems), cuts, impressions, begin, until)


def summary(spec: RankingSpec, verdict: Verdict, total: Findings) -> dict[str, Any]:
    """Returns the counts as JSON takes them; `problems` are the sentences that stop the run."""
    counts = total.counts
    splits: dict[str, Any] = {
        name: {
            "examples": counts["examples", name],
            "tasks": {
                task.name: {
                    "in_space": counts["in_space", name, task.name],
                    ("label_sum" if task.is_regression else "positives"): counts["positives", name, task.name],
                }
                for task in spec.tasks
            },
        }
        for name in SPLITS
    }
    sources = [source for source in ("log", "users", "items") if getattr(spec, source)]
    days = _of(counts, "day", None)
    window = {"examples": dict(sorted(days.items())), "carried_rows": counts["rows", "history"]}
    problems = [*verdict.problems, *total.problems]
    if not problems:
        problems = _lost(verdict, counts) or _one_sided(spec, splits["train"]["tasks"])
    return {
        "sources": {
            source: {
                "files": counts["files", source],
                "rows": counts["rows", source],
                "quarantined": dict(sorted(_of(counts, "bad", source).items())),
                **_unused_of(counts, source),
                **_files_without(counts, source),
            }
            for source in sources
        },
        "unused_events": dict(_of(counts, "unused", None).most_common()),
        "feedback": {
            task.name: {
                "attributed": counts["attributed", task.name],
                "unattributed": counts["unattributed", task.name],
                "unripe": counts["unripe", task.name],
            }
            for task in spec.tasks
            if task.event
        },
        "splits": splits,
        **({"window": window} if days else {}),
        "cuts": {
            name: {"time": cut // spec.log.timestamp.ticks_per_example_tick, "utc": format_time(spec, cut)}
            for name, cut in zip(SPLITS[1:], verdict.cuts, strict=True)
            if spec.split.by == "time"
        },
        "problems": list(dict.fromkeys(problems)),
    }


def _unused_of(counts: Counter, source: str) -> dict[str, Any]:
    left_out = _of(counts, "left_out", source)
    return {"unused": dict(left_out.most_common())} if left_out else {}


def _files_without(counts: Counter, source: str) -> dict[str, Any]:
    absent = _of(counts, "absent", source)
    return {"files_without_column": dict(sorted(absent.items()))} if absent else {}


def format_time(spec: RankingSpec, ticks: int) -> str:
    """Returns a time of the log as text for people, in UTC."""
    return datetime.fromtimestamp(ticks / spec.log.timestamp.ticks_per_second, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _lost(verdict: Verdict, counts: Counter) -> list[str]:
    """Returns a sentence for each split with fewer examples than impressions were read for it."""
    return [
        f"split {name}: {impressions:,} impressions were read, expected as many examples, got "
        f"{counts['examples', name]:,}; Beam's runner has lost some: run it again, or with fewer workers"
        for name, impressions in verdict.impressions.items()
        if counts["examples", name] < impressions
    ]


def _one_sided(spec: RankingSpec, tasks: dict[str, dict[str, float]]) -> list[str]:
    problems = []
    for task in spec.tasks:
        within = f" of its sample space ({task.within.event or task.within.column})" if task.within else ""
        rows, positives = tasks[task.name]["in_space"], tasks[task.name].get("positives")
        if rows == 0:
            problems.append(
                f"task {task.name!r}: no example of the train split is in its sample space; nothing to learn"
            )
        elif positives in (0, rows):
            sort = "negative" if positives == 0 else "positive"
            problems.append(
                f"task {task.name!r}: all {rows:,} examples of the train split{within} are {sort}; nothing to learn"
            )
    return problems


def _of(counts: Counter, group: str, source: str | None) -> Counter:
    """Returns the counts under `(group, source, name)`, or `(group, name)` where there is no source, by name."""
    return Counter(
        {key[-1]: n for key, n in counts.items() if key[0] == group and (source is None or key[1] == source)}
    )


def read_summary(quarantine: str) -> dict[str, Any]:
    """Returns what a run of ingest counted, from the folder of its `quarantine` artifact; see `summary`."""
    with FileSystems.open(FileSystems.join(quarantine, SUMMARY)) as stream:
        return orjson.loads(stream.read())
