"""The order of examples of which groups stand together."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models.training import grouping, reading
from models.training.grouping import parts_of_groups, shuffled_by_group
from schema.columns import RANKING_GROUP
from schema.modelling import RankingLoss

GROUPS = [7, 7, 7, 3, 3, 9, 1, 1, 1, 1, 4, 3]


def record(number: int, group: int) -> bytes:
    example = tf.train.Example()
    example.features.feature[RANKING_GROUP].int64_list.value.append(group)
    example.features.feature["user_id"].int64_list.value.append(number)
    for task in ("click", "completion", "like"):
        for column in ("label", "space"):
            example.features.feature[f"{column}_{task}"].float_list.value.append(1.0)
    return example.SerializeToString()


RECORDS = [record(number, group) for number, group in enumerate(GROUPS)]


def numbers(dataset) -> list[int]:
    examples = map(tf.train.Example.FromString, dataset.as_numpy_iterator())
    return [example.features.feature["user_id"].int64_list.value[0] for example in examples]


def order(seed: int) -> list[int]:
    return numbers(shuffled_by_group(tf.data.Dataset.from_tensor_slices(RECORDS), seed))


def runs(groups: list[int]) -> list[int]:
    return [group for place, group in enumerate(groups) if place == 0 or groups[place - 1] != group]


def test_examples_of_a_group_stand_together():
    places = order(1)
    assert sorted(places) == list(range(len(GROUPS)))
    assert len(runs([GROUPS[place] for place in places])) == len(set(GROUPS))


def test_a_large_group_comes_in_pieces_of_any_of_its_examples(monkeypatch):
    monkeypatch.setattr(grouping, "LARGEST", 20)
    groups = [1] * 90 + [2] * 5 + [3] * 40 + [4] * 20
    records = [record(number, group) for number, group in enumerate(groups)]
    places = numbers(shuffled_by_group(tf.data.Dataset.from_tensor_slices(records), 3))
    assert sorted(places) == list(range(len(groups)))
    order_of_groups = [groups[place] for place in places]
    ends = [place + 1 for place in range(len(groups) - 1) if order_of_groups[place] != order_of_groups[place + 1]]
    runs_of_examples = np.split(np.array(order_of_groups), ends)
    # Pieces of one group may meet: then a run is two of them.
    assert all(len(run) % 20 in (0, 10) for run in runs_of_examples if run[0] != 2)
    assert len(runs_of_examples) > 5
    assert [len(run) for run in runs_of_examples if run[0] == 2] == [5]
    of_largest = [place for place in places if groups[place] == 1]
    assert of_largest != sorted(of_largest)


def test_sizes_together_are_those_of_pieces(monkeypatch):
    monkeypatch.setattr(grouping, "LARGEST", 3)
    # The four of group 1 come as 3 and 1: three of them with three, one alone.
    sizes = {7: 3.0, 3: 3.0, 9: 1.0, 1: 10 / 4, 4: 1.0}
    np.testing.assert_array_equal(grouping.sizes_together(tf.constant(RECORDS)), [sizes[group] for group in GROUPS])


def test_the_order_of_groups_depends_on_the_seed_alone():
    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(8)}) > 4


def test_windows_are_shuffled_one_after_the_other_and_each_in_an_order_of_its_own(monkeypatch):
    monkeypatch.setattr(grouping, "WINDOW", 6)
    places = order(2)
    assert sorted(places[:6]) == list(range(6))
    monkeypatch.setattr(grouping, "WINDOW", 12)
    twice = tf.data.Dataset.from_tensor_slices(RECORDS * 2)
    orders = {tuple(np.array_split(numbers(shuffled_by_group(twice, seed)), 2)[0]) for seed in range(4)}
    assert len(orders) > 1
    assert any(not np.array_equal(*np.array_split(numbers(shuffled_by_group(twice, seed)), 2)) for seed in range(4))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 4))
def test_parts_hold_every_example_once(groups, replicas):
    groups = np.repeat(groups, replicas)
    places = parts_of_groups(groups, replicas)
    assert sorted(places.tolist()) == list(range(len(groups)))


def test_a_group_is_cut_only_where_it_fits_in_no_part():
    groups = np.array([1, 1, 1, 2, 2, 3, 3, 3])
    parts = np.split(groups[parts_of_groups(groups, 2)], 2)
    # 3 and 3 go to a part each, and of the last one fits one example beside each.
    assert [sorted(part.tolist()) for part in parts] == [[1, 1, 1, 2], [2, 3, 3, 3]]
    uncut = np.array([1, 2, 2, 1, 3, 4, 4, 3])
    assert [len(set(part)) for part in np.split(uncut[parts_of_groups(uncut, 2)], 2)] == [2, 2]


class Worker:
    """What tf.distribute tells the first of two replicas' workers."""

    num_replicas_in_sync = 2
    num_input_pipelines = 1
    input_pipeline_id = 0

    @staticmethod
    def get_per_replica_batch_size(size: int) -> int:
        return size // 2


@pytest.fixture(scope="module")
def ranked_spec(spec):
    training = spec.training.model_copy(update={"ranking_loss": RankingLoss(kind="pairwise")})
    bare = {"features": (), "behaviours": (), "training": training}
    return spec.model_copy(update={**bare, "model": spec.model.model_copy(update={"embed_ids": ("user_id",)})})


def test_examples_without_groups_are_refused():
    reading.check_groups(tf.data.Dataset.from_tensor_slices(RECORDS))
    with pytest.raises(reading.TrainingDataError, match=r"training.ranking_loss: expected 'ranking.group' in each"):
        reading.check_groups(tf.data.Dataset.from_tensors(tf.train.Example().SerializeToString()))


def test_a_batch_says_which_examples_are_of_one_group(ranked_spec):
    dataset = tf.data.Dataset.from_tensor_slices(RECORDS)
    (batch,) = reading.batches(dataset, ranked_spec, 16, 3)
    groups = np.array(GROUPS)[batch["user_id"].numpy()[:12]]
    numbered = batch[RANKING_GROUP].numpy()
    assert numbered.dtype == np.int32
    assert numbered.max() < 16
    same = groups[:, np.newaxis] == groups
    np.testing.assert_array_equal(same, numbered[:12, np.newaxis] == numbered[:12])


def test_replicas_get_whole_groups(ranked_spec):
    dataset = tf.data.Dataset.from_tensor_slices(RECORDS)
    batches = list(reading.batches(dataset, ranked_spec, 16, 3, Worker()))
    rows = [
        [GROUPS[number] for number in batch["user_id"].numpy()[batch["space_click"].numpy() > 0]] for batch in batches
    ]
    assert sorted(rows[0] + rows[1]) == sorted(GROUPS)
    assert not set(rows[0]) & set(rows[1])
