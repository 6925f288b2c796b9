"""What test_train.py starts under torchrun: each process writes what it found to FOLDER/<rank>.json."""

import copy
import functools
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from unittest import mock

import torch
from torch import nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from replication.__main__ import main
from replication.data.image_lists import list_images
from replication.experiments.large_scale import LargeScaleExperiment
from replication.training.large_scale import processes
from replication.training.large_scale import train as large_scale
from replication.training.large_scale.resnet import resnet

SMALL = dict(dataset="folder", depth=18, loss="focal", gamma=0.5, beta=0.9, size=32, epochs=2, batch_size=8)


def shallow(depth: int, num_classes: int) -> nn.Module:
    """The ResNet with one block in each of its first three stages, and one convolution in place of the fourth.

    It has every kind of layer and takes a third of the time: one block of that stage has most of the parameters.
    """
    model = resnet(depth, num_classes)
    for name in ("layer1", "layer2", "layer3"):
        setattr(model, name, getattr(model, name)[:1])
    model.layer4 = nn.Sequential(nn.Conv2d(256, 512, 1, bias=False), nn.BatchNorm2d(512), nn.ReLU())
    return model


small_networks = functools.partial(mock.patch.object, large_scale, "resnet", shallow)


def options(tree, results, *more):
    words = [f"--{k.replace('_', '-')}={v}" for k, v in SMALL.items()]
    return [*words, f"--data-root={tree}", f"--results={results}", "--device=cpu", "--workers=0", *more]


def command(arguments) -> int:
    """The verb, with its errors as the command line prints them."""
    return main(["large-scale", *arguments])


def frozen_gradients(tree, micro_batch=None):
    """Mean loss and gradients of the first global batch, batch norm with the statistics it starts with."""
    run = large_scale._LargeRun(
        LargeScaleExperiment(**SMALL), list_images("folder", tree), torch.device("cpu"), micro_batch, 0, False
    )
    for norm in (m for m in run.model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.ones_(norm.weight)  # so that gradients reach every layer
        norm.eval()
    keys = large_scale.batch_keys(
        run.n, 8, range(1), 0, rank=processes.rank(), processes=processes.count(), micro_batch=run.micro
    )
    batches = list(run.loader(run.files, large_scale.train_transform(32), keys))
    loss = processes.all_reduce_sum(run.gradients(batches)).item()
    return loss, {name: p.grad.clone() for name, p in run.model.named_parameters()}, run


def own_statistics(tree) -> float:
    """How far a process's running means are, after two steps, from those of its own images alone."""
    run = large_scale._LargeRun(
        LargeScaleExperiment(**SMALL), list_images("folder", tree), torch.device("cpu"), None, 0, False
    )
    alone = copy.deepcopy(run.model.train())
    shape = dict(rank=processes.rank(), processes=processes.count(), micro_batch=run.micro)
    for batch in run.loader(
        run.files, large_scale.train_transform(32), large_scale.batch_keys(run.n, 8, range(2), 0, **shape)
    ):
        run.gradients([batch])
        alone(run._input(batch[0]))
    norms = (next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)) for model in (run.model, alone))
    here, expected = (norm.running_mean for norm in norms)
    assert expected.abs().max() > 1e-3
    return float((here - expected).abs().max() / expected.abs().max())


def agree(folder: Path) -> dict:
    tree = folder / "tree"
    statistics = own_statistics(tree)
    loss, gradients, run = frozen_gradients(tree, micro_batch=2)
    if processes.is_main_process():
        torch.save(gradients, folder / "gradients.pt")
    errors, counts = run.evaluate()
    whole = command(options(tree, folder / "whole"))
    again = command(options(tree, folder / "whole"))
    broken = folder / "broken"
    if processes.is_main_process():
        shutil.copytree(tree, broken)
        (broken / "train" / "c0" / "3.jpg").write_bytes(b"not an image")
        (broken / "val" / "c1" / "0.jpg").write_bytes(b"not an image")
        shutil.copytree(tree, folder / "classes")
        (folder / "classes" / "val" / "c1").rename(folder / "classes" / "val" / "other")
        shutil.copytree(tree, folder / "more")
        shutil.copy(tree / "train" / "c0" / "0.jpg", folder / "more" / "train" / "c0" / "one_more.jpg")
    processes.by_main_process(lambda: None)  # wait for the copies
    with mock.patch.object(large_scale.checkpoint, "save", side_effect=OSError("no space left on device")):
        full_disk = command(options(tree, folder / "full"))
    return dict(
        statistics=statistics,
        loss=loss,
        counts=counts.tolist(),
        errors=errors,
        whole=whole,
        again=again,
        unreadable=command(options(broken, folder / "r")),
        skipped=command(options(broken, folder / "skipped", "--skip-unreadable", "--epochs=1")),
        classes=command(options(folder / "classes", folder / "r")),
        more=command(options(folder / "more", folder / "whole")),
        odd_batch=command(options(tree, folder / "r", "--batch-size=9")),
        large_batch=command(options(tree, folder / "r", "--batch-size=64")),
        micro=command(options(tree, folder / "r", "--micro-batch=3")),
        size=command(options(tree, folder / "r", "--size=33")),
        nowhere=command(options(folder / "nowhere", folder / "r")),
        full_disk=full_disk,
        unwritable=command(options(tree, tree / "train" / "c0" / "0.jpg")),
    )


def die_at_step_4(gradients):
    """SIGKILL, in the second epoch."""

    def dying(self, micro_batches):
        if self.step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return gradients(self, micro_batches)

    return dying


def everything(folder: Path) -> dict:
    """A run in which process 1 dies at the first start and which torchrun then starts again; after it all the rest."""
    restarts = os.environ["TORCHELASTIC_RESTART_COUNT"]
    if restarts == "0" and processes.rank() == 1:
        large_scale._LargeRun.gradients = die_at_step_4(large_scale._LargeRun.gradients)
    killed = command(options(folder / "tree", folder / "killed"))
    return dict(killed=killed, restarts=restarts) | agree(folder)


def work(folder: Path) -> None:
    """One process of torchrun."""
    torch.set_num_threads(1)
    with processes.joined("cpu"), small_networks():
        found = everything(folder)
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))


def torchrun(folder: Path) -> None:
    """`torchrun --nproc-per-node 2 --max-restarts 1`, its processes forks of this one; all print to FOLDER/printed."""
    os.dup2(os.open(folder / "printed", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os.dup2(2, 1)
    sys.stdout, sys.stderr = (open(fd, "w", encoding="utf-8", buffering=1, closefd=False) for fd in (1, 2))  # noqa: SIM115
    node = dict(min_nodes=1, max_nodes=1, nproc_per_node=2, max_restarts=1)
    meeting = dict(rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id="test")
    elastic_launch(LaunchConfig(**node, **meeting, start_method="fork"), work)(folder)
