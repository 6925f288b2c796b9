"""One CPU thread and no progress bars in tests: small networks run faster so, and the output stays readable."""

import contextlib
import os
import signal

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a job started with &: processes of tests would inherit it
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def quick_battery():
    """The quick battery of the covering simulation, run once; not to be changed."""
    from replication.theory.covering import battery

    return battery()
