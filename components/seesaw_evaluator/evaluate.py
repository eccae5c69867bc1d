"""The Beam graph: files of examples -> scored rows by user -> two passes over them -> one outcome a slice.

Between the stages go columns and sums, never single examples. What grows with the examples is only the scored rows,
which the runner shuffles; everything after them grows with the slices.
"""

from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam

from components.seesaw_evaluator.influence import influence_moments
from components.seesaw_evaluator.outcome import SliceOutcome, outcome
from components.seesaw_evaluator.plan import Plan
from components.seesaw_evaluator.result import SliceKey
from components.seesaw_evaluator.scored import ScoredRows, concatenated, slice_views
from components.seesaw_evaluator.scoring import Score
from components.seesaw_evaluator.totals import SliceTotals, merged_totals, totals
from metrics.uncertainty import Moments

# Totals that are merged at once.
_PENDING = 8


class _MergeTotals(beam.CombineFn):
    def create_accumulator(self) -> list[SliceTotals]:
        return []

    def add_input(self, accumulator: list[SliceTotals], part: SliceTotals) -> list[SliceTotals]:
        accumulator.append(part)
        return accumulator if len(accumulator) < _PENDING else [merged_totals(accumulator)]

    def merge_accumulators(self, accumulators: Iterable[list[SliceTotals]]) -> list[SliceTotals]:
        parts = [part for accumulator in accumulators for part in accumulator]
        return [merged_totals(parts)] if parts else []

    def extract_output(self, accumulator: list[SliceTotals]) -> SliceTotals:
        return merged_totals(accumulator)


class _AddMoments(beam.CombineFn):
    def create_accumulator(self) -> Moments | None:
        return None

    def add_input(self, accumulator: Moments | None, part: Moments) -> Moments:
        return part if accumulator is None else accumulator + part

    def merge_accumulators(self, accumulators: Iterable[Moments | None]) -> Moments | None:
        result = None
        for part in accumulators:
            if part is not None:
                result = self.add_input(result, part)
        return result

    def extract_output(self, accumulator: Moments | None) -> Moments | None:
        return accumulator


def evaluate(pipeline: beam.Pipeline, files: list[str], plan: Plan, buckets: int) -> beam.PCollection[SliceOutcome]:
    """Scores the examples of `files` (TFRecords under gzip) with every model and evaluates every slice.

    Args:
      buckets: into how many parts the users are put; one part has to fit into a worker's memory.
    """
    rows = (
        pipeline
        | "Files" >> beam.Create(files)
        | "Spread" >> beam.Reshuffle()
        | "Score" >> beam.ParDo(Score(plan, buckets))
        | "ByUser" >> beam.GroupByKey()
        | "Join" >> beam.MapTuple(lambda _, chunks: concatenated(list(chunks)))
    )
    found = rows | "Sum" >> beam.FlatMap(_sum, plan) | "MergeSums" >> beam.CombinePerKey(_MergeTotals())
    moments = (
        rows
        | "Influence" >> beam.FlatMap(_influence, plan, beam.pvalue.AsDict(found))
        | "MergeInfluence" >> beam.CombinePerKey(_AddMoments())
    )
    return (
        {"totals": found, "moments": moments}
        | "BySlice" >> beam.CoGroupByKey()
        | "Outcome" >> beam.MapTuple(lambda key, both: outcome(key, both["totals"][0], both["moments"][0], plan))
    )


def _sum(rows: ScoredRows, plan: Plan) -> Iterator[tuple[SliceKey, SliceTotals]]:
    for view in slice_views(rows, plan.slices):
        yield from totals(rows, view, plan)


def _influence(
    rows: ScoredRows, plan: Plan, found: Mapping[SliceKey, SliceTotals]
) -> Iterator[tuple[SliceKey, Moments]]:
    for view in slice_views(rows, plan.slices):
        yield from influence_moments(rows, view, plan, found)
