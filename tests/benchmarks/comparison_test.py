"""What a comparison of rankers keeps, and how it shows a gain."""

import numpy as np

from benchmarks.comparison import Gain, ScoreFiles


def test_scores_are_made_once_for_the_same_settings(tmp_path):
    calls = []

    def score() -> dict[str, np.ndarray]:
        calls.append(len(calls))
        return {"ple": np.full([2, 3], len(calls), np.float32), "LightGBM + statistics": np.zeros([2, 3], np.float32)}

    for _ in range(2):
        scores = ScoreFiles(tmp_path).get("auto-1", {"seed": 1}, score)
        assert list(scores) == ["ple", "LightGBM + statistics"]
        np.testing.assert_array_equal(scores["ple"], np.ones([2, 3]))
    assert calls == [0]
    assert ScoreFiles(tmp_path).get("auto-1", {"seed": 2}, score)["ple"][0, 0] == 2
    ScoreFiles(None).get("auto-1", {"seed": 1}, score)
    assert calls == [0, 1, 2]


def test_a_gain_is_bold_where_its_interval_leaves_zero_out():
    assert str(Gain(0.0123, 0.005)) == "**+0.0123 ± 0.0050**"
    assert str(Gain(-0.0123, 0.02)) == "-0.0123 ± 0.0200"
    assert not Gain(0.0, 0.0).is_certain
