"""EvaluationReport: the report of a run, as a component of the pipeline."""
