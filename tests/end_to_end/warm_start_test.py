"""Training that goes on from the blessed model: its single-task reference goes on as well."""

import shutil

from whole_runs import WINDOW, Run, fulcrum, write_spec

from report.summary import load_summary


def test_a_ranker_and_its_reference_go_on_from_the_run_before(run: Run, tmp_path):
    output = tmp_path / "output"
    shutil.copytree(run.output, output)
    training = {"epochs": 1, "batch_size": 256, "reference": True}
    # Two trainings of an epoch may differ by chance.
    gates = {task: {"max_loss": 1} for task in ("view_through", "completion", "like")}
    spec = write_spec(tmp_path / "spec.yaml", training=training, gates=gates)
    arguments = ("run", spec, "--logs", run.logs, "--window", WINDOW, "--output", output, "--warm-start")
    alone = fulcrum(*arguments)
    assert alone.code == 0, alone.out + alone.err
    # The model of the run before had no reference.
    first = load_summary(output)
    assert "not by sharing alone: the model started from" in alone.out
    assert (first.base_model is None, first.reference_base_model) == (False, None)
    assert first.blessed
    both = fulcrum(*arguments, "--epochs", 2)
    assert both.code == 0, both.out + both.err
    second = load_summary(output)
    assert second.base_model == first.places["model"]
    assert second.reference_base_model
    assert both.out.count("starting from") == 2
    assert "by sharing alone" not in both.out
