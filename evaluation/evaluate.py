"""Evaluates models on files of examples: scored rows by user -> two passes over them -> one outcome a slice.

Between the stages go columns and sums, never single examples. What grows with the examples is only the scored rows,
which the runner shuffles; everything after them grows with the slices.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from evaluation import result, tfma_output
from evaluation.comparability import contract, model_spec, not_compared
from evaluation.conclusion import Subject, conclusion
from evaluation.eval_config import eval_config
from evaluation.influence import influence_moments
from evaluation.metrics.uncertainty import Moments
from evaluation.outcome import SliceOutcome, slice_outcome
from evaluation.plan import Plan, PlannedModel, make_plan
from evaluation.result import CANDIDATE, Evaluation, ModelName, SliceKey
from evaluation.scored import ScoredRows, concatenated, slice_views
from evaluation.scoring import Score
from evaluation.totals import SliceTotals, merged_totals, totals
from schema.spec import RankingSpec

# Compressed bytes of examples whose scored rows are held together.
_BUCKET_BYTES = 16 << 20
_MIN_BUCKETS = 8
# Totals that are merged at once.
_PENDING = 8


class EvaluationError(ValueError):
    """There is nothing to evaluate."""


@dataclass(frozen=True)
class Model:
    """A model to evaluate.

    Attributes:
      name: what it is in the comparison: the candidate, or the baseline or reference that it is compared with.
      path: the folder of its SavedModel.
      uri: what the result names it by.
    """

    name: ModelName
    path: str
    uri: str


def evaluate_models(
    files: Sequence[str],
    models: Sequence[Model],
    spec: RankingSpec,
    split: str = "test",
    *,
    make_pipeline: Callable[[], beam.Pipeline] = lambda: beam.Pipeline(runner=FnApiRunner()),
    output: str | None = None,
) -> Evaluation:
    """Returns what `models` reach on the examples of `files`: every task on every slice, the gains, the gate's verdict.

    Args:
      files: TFRecords of examples as ingest writes them, under gzip.
      models: begin with the candidate. Tasks that mean something else to another model are named and not compared.
      spec: its tasks, slices and gates.
      split: how the result names the examples.
      make_pipeline: where Beam runs; by default in memory.
      output: a folder for the evaluation as JSON and in TFMA's format; by default nothing is kept.

    Raises:
      EvaluationError: there are no files.
      ScoringError: a model can't score the examples, or its scores are no probabilities.
    """
    if not files:
        raise EvaluationError(f"the split {split!r} has no files")
    subjects = [_subject(spec, model) for model in models]
    plan = make_plan(spec, tuple(subject.planned for subject in subjects if subject.planned.tasks))
    with tempfile.TemporaryDirectory() as scratch:
        folder = output or scratch
        with make_pipeline() as pipeline:
            outcomes = slice_outcomes(pipeline, files, plan, _buckets(files))
            all_outcomes = outcomes | "AllSlices" >> beam.combiners.ToList()
            evaluation = all_outcomes | "Conclude" >> beam.Map(conclusion, spec, plan, subjects, split)
            _ = evaluation | "Write" >> beam.Map(result.write, folder)
            if output:
                config = eval_config(spec, [model.name for model in plan.models])
                tfma_output.write(outcomes, evaluation, plan, config, output, files[0].rpartition("/")[0])
        return result.read(folder)


def _subject(spec: RankingSpec, model: Model) -> Subject:
    trained_by = model_spec(model.path)
    theirs = contract(trained_by) if trained_by else None
    missing = {} if model.name == CANDIDATE else not_compared(contract(spec), theirs)
    tasks = frozenset(task.name for task in spec.tasks) - missing.keys()
    return Subject(
        PlannedModel(model.name, model.path, tasks),
        model.uri,
        missing,
        trained_by.model.routing if trained_by else None,
    )


def _buckets(files: Sequence[str]) -> int:
    size = sum(tf.io.gfile.stat(file).length for file in files)
    return max(_MIN_BUCKETS, size // _BUCKET_BYTES)


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


def slice_outcomes(
    pipeline: beam.Pipeline, files: Sequence[str], plan: Plan, buckets: int
) -> beam.PCollection[SliceOutcome]:
    """Returns the outcome of every slice, of the examples of `files` (TFRecords under gzip) scored with every model.

    Args:
      buckets: into how many parts the users are put; one part has to fit into a worker's memory.
    """
    rows = (
        pipeline
        | "Files" >> beam.Create(list(files))
        | "Spread" >> beam.Reshuffle()
        | "Score" >> beam.ParDo(Score(plan, buckets))
        | "ByUser" >> beam.GroupByKey()
        | "Join" >> beam.MapTuple(lambda _, chunks: concatenated(list(chunks)))
    )
    merged = rows | "Sum" >> beam.FlatMap(_sum, plan) | "MergeSums" >> beam.CombinePerKey(_MergeTotals())
    moments = (
        rows
        | "Influence" >> beam.FlatMap(_influence, plan, beam.pvalue.AsDict(merged))
        | "MergeInfluence" >> beam.CombinePerKey(_AddMoments())
    )
    return (
        {"totals": merged, "moments": moments}
        | "BySlice" >> beam.CoGroupByKey()
        | "Outcome" >> beam.MapTuple(lambda key, both: slice_outcome(key, both["totals"][0], both["moments"][0], plan))
    )


def _sum(rows: ScoredRows, plan: Plan) -> Iterator[tuple[SliceKey, SliceTotals]]:
    for view in slice_views(rows, plan.slices):
        yield from totals(rows, view, plan)


def _influence(
    rows: ScoredRows, plan: Plan, merged: Mapping[SliceKey, SliceTotals]
) -> Iterator[tuple[SliceKey, Moments]]:
    for view in slice_views(rows, plan.slices):
        yield from influence_moments(rows, view, plan, merged)
