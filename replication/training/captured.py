"""Record a function that does not synchronise with the host as a CUDA graph, and replay it in one launch.

On other devices the function is called as it is.  Each thread that trains has a CUDA stream of its own; one thread at
a time records while the others continue to replay.
"""

import threading
from collections.abc import Callable

import torch

WARM_UP = 3  # calls before the recording: cuDNN measures its algorithms, kernels are loaded
EAGER = threading.RLock()  # held by a thread that launches single kernels, or changes torch's global switches
_memory = threading.local()  # this thread's memory for graphs, which its next run reuses


def captured(
    function: Callable[[], object],
    device: torch.device,
    reset: Callable[[], object] = lambda: None,
    tf32: bool = False,
) -> Callable[[], object]:
    """Return a callable that runs `function` in one launch on CUDA; on other devices return `function` itself.

    Recording and replay use the current stream.  It must not be the default one, because autograd's nodes remember the
    stream on which they were made, and a node of another stream ends the recording.  The warm-up changes the tensors
    that `function` writes, so the caller sets these afterwards.  Unlike `torch.cuda.graph`, this does not wait for the
    work of other threads.

    Args:
        function: what to record.  It takes no arguments and reads no tensor on the host.
        device: where its tensors are.
        reset: called before each call of the warm-up, e.g. to set a counter back.
        tf32: whether float32 convolutions may use TF32.

    Raises:
        RuntimeError: the current stream is the default stream of the device.
    """
    if device.type != "cuda":
        return function
    if torch.cuda.current_stream(device) == torch.cuda.default_stream(device):
        raise RuntimeError("a CUDA graph must be recorded on a stream of its own: use torch.cuda.stream(...)")
    cudnn = torch.backends.cudnn
    with EAGER:
        before, cudnn.allow_tf32 = cudnn.allow_tf32, tf32
        try:
            for _ in range(WARM_UP):
                reset()
                function()
            reset()
            graph = _record(function)
        finally:
            cudnn.allow_tf32 = before
    return graph.replay


def _record(function: Callable[[], object]) -> "torch.cuda.CUDAGraph":
    if not hasattr(_memory, "pool"):
        _memory.pool = torch.cuda.graph_pool_handle()
    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(pool=_memory.pool, capture_error_mode="thread_local")
    try:
        function()
    finally:
        graph.capture_end()
    _memory.last = graph  # keeps the pool alive until this thread's next recording
    return graph
