"""The step on the device: equal to a plain loop to the bit, silent to the host, recorded without a trace."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from replication.data.augment import batch_order, crop_and_flip, crop_draws, pad, scale
from replication.data.seeds import stream
from replication.data.sources import load
from replication.experiments.experiment import Experiment
from replication.losses import arguments
from replication.losses.terms import prior_bias
from replication.training import captured as captured_module
from replication.training.cifar import program
from replication.training.cifar.losses import class_weights, training_loss
from replication.training.cifar.resnet import BatchNorm, ResNet, decay_groups, initialise
from replication.training.cifar.train import CifarRun, train
from replication.training.schedule import learning_rate

DIGITS = load("digits")
CPU = torch.device("cpu")
SHORT = Experiment(dataset="digits", imbalance_factor=100, depth=8, epochs=2, batch_size=32)
KINDS = [
    dict(beta=0.999),
    dict(loss="sigmoid", beta=0.99),
    dict(loss="focal", gamma=0.5, beta=0.9999),
    dict(loss="focal", gamma=1.0, beta=0.9, last_bias="zero"),
    dict(loss="balanced_softmax"),
    dict(reduction="weighted_mean", beta=0.999),
    dict(shortcut="subsample", shuffle="buffered"),
]


def plain_loop(experiment: Experiment, precision: str):
    """The protocol written with Python numbers, SGD in its plain form and one tensor slice a step."""
    e, kept = experiment, DIGITS[0].long_tailed(experiment.imbalance_factor, experiment.seed)
    model = ResNet(e.depth, 10, 1, e.shortcut).to(memory_format=torch.channels_last)
    for name, module in model.named_modules():  # torch's own batch norm
        if isinstance(module, BatchNorm):
            parent, _, leaf = name.rpartition(".")
            model.get_submodule(parent).register_module(leaf, nn.BatchNorm2d(module.num_features))
    prior = e.loss in ("sigmoid", "focal") and e.last_bias == "prior"
    initialise(model, stream(e.seed, "weights"), prior_bias(10) if prior else 0.0)
    loss_of = training_loss(e, class_weights(e, kept.class_counts, CPU), kept.class_counts)
    groups = decay_groups(model, e.weight_decay, "softmax" in e.loss)
    optimiser = torch.optim.SGD(groups, lr=0.0, momentum=0.9, fused=True)
    padded, targets = pad(torch.from_numpy(kept.images), kept.padding), torch.from_numpy(kept.targets)
    order = batch_order(len(kept), e.epochs, stream(e.seed, "order"), shuffle=e.shuffle, batch_size=e.batch_size)
    draws = crop_draws(len(order), kept.padding, kept.flip, stream(e.seed, "augmentation"))
    losses = []
    model.train()
    for step in range(e.epochs * len(kept) // e.batch_size):
        window = slice(step * e.batch_size, (step + 1) * e.batch_size)
        index = order[window]
        images = scale(crop_and_flip(padded, index, *(draw[window] for draw in draws), kept.images.shape[1:3]))
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(images)
        loss = loss_of(logits.float(), targets[index])
        loss.backward()
        for group in optimiser.param_groups:
            epoch = step * e.batch_size / len(kept)
            group["lr"] = learning_rate(epoch, epochs=e.epochs, base=e.base_learning_rate, drop_factor=e.drop_factor)
        optimiser.step()
        losses.append(float(loss.detach()))
    return model, losses


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("fields", KINDS, ids=str)
def test_the_step_is_the_plain_loop_s_to_the_bit(fields, precision):
    experiment = replace(SHORT, **fields)
    expected, losses = plain_loop(experiment, precision)
    run = CifarRun(experiment, DIGITS, CPU, precision=precision)
    run.model.train()
    found = []
    for _ in range(run.steps):
        run.total.zero_()
        run.train_once()
        found.append(float(run.total))
    assert found == losses
    state = run.model.state_dict()
    for name, value in expected.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(value, state[name]), name


def test_a_step_and_a_test_ask_nothing_of_the_host(monkeypatch):
    """No .item(), bool() or copy to the host: what CUDA's sync debug mode checks on the device."""
    run = CifarRun(replace(SHORT, loss="focal", gamma=0.5, beta=0.9), DIGITS, CPU)
    monkeypatch.setattr(arguments, "_may_look", lambda tensor: False)  # the losses look at values on the CPU alone

    def forbidden(*_, **__):
        raise AssertionError("the host was asked")

    for name in ("item", "__bool__", "__float__", "__int__", "__index__", "tolist", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, forbidden)
    run.model.train()
    run._step()
    run.model.eval()
    run._test()


def test_the_captured_test_counts_what_the_evaluation_counts():
    run = CifarRun(SHORT, DIGITS, CPU)
    run.advance(2)
    run.model.eval()
    run._test()
    wrong, total = run.wrong.clone(), float(run.test_total)
    errors, (counted, _) = run.evaluate()
    assert wrong.tolist() == counted.tolist() and bool(run.finite)
    assert errors["test_loss"] == pytest.approx(total / len(run.test_targets), rel=1e-5)
    with torch.no_grad():
        run.model.classifier.weight.fill_(float("nan"))
    run._test()
    assert not bool(run.finite)


class Graph:
    """Stands in for a CUDA graph: what is recorded is what a replay calls."""

    made: ClassVar[list] = []

    def capture_begin(self, pool, capture_error_mode):
        assert pool == "a pool" and capture_error_mode == "thread_local"
        Graph.made.append(self)

    def capture_end(self):
        pass

    def replay(self):
        self.function()


@pytest.fixture
def graphs(monkeypatch):
    """Let `captured` do on the CPU all that it does on CUDA, the warm-up included."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "a pool")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "a stream")
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: "the default one")
    monkeypatch.setattr(captured_module, "_memory", type("Memory", (), {})())

    def on_cuda(function, device, **keywords):
        replay = captured_module.captured(function, torch.device("cuda"), **keywords)
        Graph.made[-1].function = function
        return replay

    monkeypatch.setattr(program, "captured", on_cuda)
    Graph.made.clear()
    return Graph.made


@pytest.mark.parametrize("fields", [dict(beta=0.999), dict(loss="focal", gamma=0.5)], ids=str)
def test_warming_up_and_recording_leave_no_trace(fields, graphs, monkeypatch):
    experiment = replace(SHORT, **fields)
    recorded = train(experiment, DIGITS, device="cpu")
    assert len(graphs) == 2
    monkeypatch.undo()
    plain = train(experiment, DIGITS, device="cpu")
    assert (recorded.curve, recorded.error_per_class) == (plain.curve, plain.error_per_class)


def test_a_run_of_one_step_warms_up_within_its_images(graphs):
    run = CifarRun(replace(SHORT, epochs=1, batch_size=300), DIGITS, CPU)
    assert run.steps == 1 and run.advance(1) > 0


def test_recording_refuses_the_default_stream(graphs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the default one")
    with pytest.raises(RuntimeError, match="a stream of its own"):
        CifarRun(SHORT, DIGITS, CPU)
