"""Transform on a rolling window: a day that was analysed once is not analysed again, and nothing else changes."""

from pathlib import Path

import yaml

from schema.spec import RankingSpec

SHORTVIDEO = Path(__file__).resolve().parents[3] / "schema" / "specs" / "shortvideo.yaml"


def _spec() -> RankingSpec:
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    # One vocabulary beside the ids, one quantile, one mean: an analysis of each sort.
    features = [one for one in declared["features"] if one["name"] in ("tab", "activity", "duration_s", "country")]
    return RankingSpec.model_validate(
        {**declared, "features": features, "slices": [["tab"]], "model": {"min_frequency": 1}}
    )
