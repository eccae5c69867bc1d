import pytest

from pipeline.runners.resources import OTHERS, Resources, ResourcesError, parse_resources


def test_an_option_changes_what_it_names_and_leaves_the_rest():
    resources = parse_resources(["Trainer:cpu=8,gpu=1", "cpu=1"])
    assert resources["Trainer"] == Resources(cpu=8, memory="16G", gpu=1)
    assert resources[OTHERS] == Resources(cpu=1, memory="8G")


def test_memory_is_in_units_of_kubernetes():
    assert Resources(memory="1.5Gi").memory_gb == pytest.approx(1.5 * 1.073741824)
    assert Resources(memory="500M").memory_gb == 0.5


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("Trainer:cores=8", "expected KEY=VALUE of cpu, memory, gpu, gpu_type, got 'cores=8'"),
        ("Trainer:cpu=many", "cpu: expected a number, got 'many'"),
        ("Trainer:cpu=0", "expected a positive number of cores, got 0"),
        ("Trainer:memory=16", "memory: expected a number and one of M, G, T, Mi, Gi, Ti, got '16'"),
        ("Trainer:gpu=-1", "gpu: expected a count, got -1"),
        ("my trainer:cpu=1", "got the name 'my trainer'"),
    ],
)
def test_a_wrong_option_is_refused_in_words(option, message):
    with pytest.raises(ResourcesError, match=message):
        parse_resources([option])
