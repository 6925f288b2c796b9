"""The processes of one run, as torchrun starts them: who leads, what all must agree on.  Alone, each is a no-op.

An error that one process finds (a file that is missing, a full disk) is raised in all of them, so that none waits for
one that has gone.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from replication.training.device import pick_device

TIMEOUT = timedelta(hours=1)  # the leader may list a million files meanwhile


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Join the process group that torchrun's environment describes, if any; gives this process's device.

    Raises:
        ValueError: an unknown device, or more processes on this node than it has GPUs.
    """
    chosen = pick_device(device)
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield chosen
        return
    if chosen.type == "cuda":
        local, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if local > gpus:
            raise ValueError(f"nproc-per-node must be at most the {gpus} GPUs of this node, got {local}")
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT, **_meeting_point())
    try:
        yield chosen
    finally:
        dist.destroy_process_group()


def _meeting_point() -> dict:
    """The store in which processes find each other, clear of what an earlier start left there.

    On one node torchrun keeps one store over its restarts, addresses of dead processes included (seen with torch 2.14),
    so each start has keys of its own.  On several nodes the starts cannot be counted so: the README's command has
    torchrun make a store for each.
    """
    store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    return dict(store=store, rank=rank, world_size=size)


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", 0))


def count() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main_process() -> bool:
    """Whether this process writes and prints: rank 0 of all nodes."""
    return rank() == 0


def broadcast(value):
    """The leader's value, in every process."""
    box = [value]
    if count() > 1:
        dist.broadcast_object_list(box, src=0)
    return box[0]


def by_main_process(function: Callable[[], object]):
    """What `function` gives in the leader, the only one that calls it; its ValueError or OSError is raised in all."""
    value = error = None
    if is_main_process():
        try:
            value = function()
        except (ValueError, OSError) as caught:
            error = caught
    value, error = broadcast((value, error))
    if error is not None:
        raise error
    return value


def tell_torchrun(error: Exception) -> None:
    """Have torchrun's closing report, the last that a user sees, end with this error instead of "enable traceback"."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        extra = dict(py_callstack=f"error: {error}", timestamp=str(int(time.time())))  # in the form of torch's own
        text = json.dumps(dict(message=dict(message=str(error), extraInfo=extra)))
        Path(path).write_text(text, encoding="utf-8")


def all_of(value) -> list:
    """The values of all processes, by rank."""
    values = [value]
    if count() > 1:
        values = [None] * count()
        dist.all_gather_object(values, value)
    return values


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if count() > 1:
        dist.all_reduce(values)
    return values


def any_of(flag: bool) -> bool:
    """Whether it is true in one process or more; a few bytes over the CPU's network, no wait for the GPU."""
    return bool(all_reduce_sum(torch.tensor(int(flag))))
