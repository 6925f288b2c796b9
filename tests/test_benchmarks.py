"""The benchmarks, which `make test` does not run: they import, and what they measure beside time keeps its bounds."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "benchmarks"


def load(name: str):
    """The module tests/benchmarks/NAME.py."""
    spec = spec_from_file_location(name, FOLDER / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem)
def test_benchmarks_import(path):
    """A name of the package that moved would show here; a test module has tests, a writer the page of their results."""
    names = vars(load(path.stem))
    assert any(name.startswith("test_" if path.stem.startswith("test_") else "page") for name in names)


@pytest.mark.parametrize("name", ["sigmoid", "focal 0.5", "focal 1", "focal 2"])
def test_peak_memory_of_a_loss_is_two_tensors_of_the_logits(name):
    """Beside the logits: what is kept for the gradient, and the gradient; torchvision's focal loss takes over four."""
    losses = load("test_losses_benchmark")
    assert 1 < losses.peak_tensors(name, (256, 8142)) <= 2.01  # a hundredth: (C,) and scalars


def test_peak_memory_sees_what_torchvision_takes():
    assert load("test_losses_benchmark").peak_tensors("torchvision", (256, 1000)) > 4


def test_the_training_that_is_timed_trains():
    training = load("test_training_benchmark")
    assert training.convolutions_alone(False)[0](1) > 0
    train, run = training.ours(False, False)
    before = run.model.classifier.weight.clone()
    assert train(2) > 0 and run.position.item() == 2  # the rate of the first step is 0
    assert not before.equal(run.model.classifier.weight)


def test_operations_are_those_of_the_paper_s_network():
    """ResNet-32 on 32x32 images: about 69 million multiply-adds forward, and three times that with backward."""
    training = load("test_training_benchmark")
    count = training.operations_an_image(training.ResNet(32).to(training.DEVICE), training.DEVICE)
    assert 2 * 3 * 66e6 < count < 2 * 3 * 72e6


def test_the_covering_never_holds_an_array_of_replicates_and_prototypes():
    """1000 replicates of N = 1e4 in 8 bytes would take 80 MB."""
    covering = load("test_covering_benchmark")
    assert covering.peak_bytes(lambda: covering.covered(10**4, covering.log_grid(1e5, 100), 1000)) < 20e6
