"""The device and the precision of a run, and the global switches of torch that it needs."""

import contextlib
import functools
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from replication.experiments.records import PRECISIONS
from replication.training.captured import EAGER

_switched: list[torch.device] = []  # a device for each open `cuda_switches`
_before: list[bool] = []  # the switches before the first of them


def pick_device(device: str) -> torch.device:
    """Return the torch device for a name; "auto" is CUDA if there is a GPU, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()  # "meta" holds no numbers, other devices may be missing
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise ValueError(f"device must be auto, cpu or a CUDA device of this machine, got {device!r}") from error
    return chosen


def pick_precision(precision: str | None, device: torch.device) -> str:
    """Return the precision as records name it; None means bfloat16 on GPUs that have it, else float32.

    Raises:
        ValueError: another name.
    """
    if precision not in (None, *PRECISIONS):
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    return PRECISIONS[precision or ("bfloat16" if device.type == "cuda" and _has_bfloat16(device) else "float32")]


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a GPU has bfloat16 in hardware; older ones emulate it, slower than float32."""
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context of a precision, as records name it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == PRECISIONS["bfloat16"])


@contextlib.contextmanager
def cuda_switches(device: torch.device, deterministic: bool = False) -> Iterator[None]:
    """Set torch's global switches for runs on CUDA, and restore them afterwards.

    Float32 convolutions, which every run's evaluation uses, are computed without TF32.  Of contexts that are open at
    the same time, in any thread, the first sets the switches and the last restores them.
    """
    if device.type != "cuda":
        yield
        return
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch refuses cuBLAS without it
    with EAGER:
        if not _switched:
            _before[:] = _switch(deterministic, benchmark=not deterministic, tf32=False)
        _switched.append(device)
    try:
        yield
    finally:
        with EAGER:
            _switched.pop()
            if not _switched:
                _switch(*_before)


def _switch(deterministic: bool, benchmark: bool, tf32: bool) -> tuple[bool, bool, bool]:
    """Set the switches; return what they were before."""
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.allow_tf32
    torch.use_deterministic_algorithms(deterministic)
    cudnn.benchmark, cudnn.allow_tf32 = benchmark, tf32
    return before


def device_name(device: torch.device) -> str:
    """Return the model of a GPU or CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({_cpu_model()})"


@functools.cache
def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def own_stream(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return a context with a CUDA stream of its own, if the current one is the default one, which cannot be recorded.

    On other devices the context does nothing.
    """
    if device.type == "cuda" and torch.cuda.current_stream(device) == torch.cuda.default_stream(device):
        return torch.cuda.stream(torch.cuda.Stream(device))
    return contextlib.nullcontext()


def synchronize(device: torch.device) -> None:
    """Wait for the current stream of a CUDA device while other Python threads continue; elsewhere do nothing."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
