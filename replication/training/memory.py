"""Recognise out-of-memory errors, which libraries raise as several kinds, and say in one line what to do."""

SIGNS = ("out of memory", "allocate memory", "ALLOC_FAILED")  # of CUDA, of torch on the CPU, of cuBLAS


def end_of_memory(error: BaseException) -> str | None:
    """Return one line that names what ran out and what to do; None for an error of another kind.

    >>> end_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 7.00 GiB."))[:32]
    'out of memory on the GPU: fewer '
    """
    text = " ".join(str(error).split())
    if not isinstance(error, MemoryError) and not any(sign in text for sign in SIGNS):
        return None
    place = "the GPU" if "CUDA" in text or "CUBLAS" in text else "this machine"
    return f"out of memory on {place}: fewer workers, a smaller batch, network or volume need less ({text[:150]})"
