"""The processes of one run under torchrun, and what they exchange; without torchrun the functions do nothing.

An error in one process (a missing file, a full disk) is raised in all of them, so that none waits for a process that
has ended.
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

TIMEOUT = timedelta(hours=1)  # the main process may list a million files meanwhile


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Join the process group that torchrun's environment describes, if any; yield this process's device.

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
    """Return the store in which processes find each other, without the keys of earlier starts.

    On one node torchrun keeps one store over its restarts, with the addresses of dead processes (seen with torch 2.14),
    so each start gets keys of its own.  On several nodes this count is not available; the documented command makes
    torchrun create a store for each start.
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


def by_main_process(function: Callable[[], object]):
    """Call `function` in the main process alone; return its result, or raise its ValueError or OSError, in all."""
    value = error = None
    if is_main_process():
        try:
            value = function()
        except (ValueError, OSError) as caught:
            error = caught
    if count() > 1:
        outcome: list = [value, error]
        dist.broadcast_object_list(outcome, src=0)
        value, error = outcome
    if error is not None:
        raise error
    return value


def tell_torchrun(error: Exception) -> None:
    """Make torchrun's closing report, the last thing that a user sees, end with this error."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        extra = dict(py_callstack=f"error: {error}", timestamp=str(int(time.time())))  # in the form of torch's own
        text = json.dumps(dict(message=dict(message=str(error), extraInfo=extra)))
        Path(path).write_text(text, encoding="utf-8")


def all_of(value) -> list:
    """Return the values of all processes, by rank."""
    values = [value]
    if count() > 1:
        values = [None] * count()
        dist.all_gather_object(values, value)
    return values


def all_reduce_sum(values: Tensor) -> Tensor:
    """Sum over all processes, in place."""
    if count() > 1:
        dist.all_reduce(values)
    return values


def any_of(flag: bool) -> bool:
    """Whether `flag` is true in any process; this exchanges a few bytes on the CPU and does not wait for the GPU."""
    return bool(all_reduce_sum(torch.tensor(int(flag))))
