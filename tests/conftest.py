"""One CPU thread and no progress bars in tests: small networks run faster so, and the output stays readable."""

import contextlib
import gc
import os
import shutil
import signal
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
gc.set_threshold(50_000, 20, 20)  # otherwise the collector spends a tenth of the time on objects of imported modules
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a job started with &: processes of tests would inherit it
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {  # files that share what is slow to make or to import
    "notebooks": ("tests/test_notebooks.py", "tests/site/", "tests/cli/test_notebooks.py", "tests/test_packaging.py"),
    "processes": (
        "tests/training/large_scale/",
        "tests/training/sweep/",
        "tests/cli/test_main.py",
        "tests/losses/test_vendored.py",
    ),
    "battery": ("tests/theory/test_covering.py", "tests/report/claims/test_theory.py"),
}


def group(nodeid: str) -> str:
    """The group of a test, or else its file."""
    path = nodeid.split("::")[0]
    return next((name for name, under in GROUPS.items() if path.startswith(under)), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Run the tests of a group in one process, and those of any other file in one.

    Marks `xdist_group` would not do: with pytest 9.2, pytest-xdist 3.8 does not see them.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return Groups(config, log)


def pytest_collection_modifyitems(items):
    """Groups and training run first because they take longest; small files at the end keep both processes busy."""
    gc.freeze()  # modules and tests stay until the end: the garbage collector need not look at them again
    items.sort(key=lambda item: (group(item.nodeid) not in GROUPS, "tests/training/" not in item.nodeid))


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory):
    """(exit code, folder of the smoke profile's results) of one run of everything, on the committed covering tables.

    Notebook 02 simulates its own battery all the same; the reduced tables are those of tests/report/test_covering.py.
    """
    from replication.cli.notebooks import reproduce

    results = tmp_path_factory.mktemp("results")
    tables = shutil.ignore_patterns("*.png", "*.pdf", "*.md")
    shutil.copytree(ROOT / "results" / "covering", results / "covering", ignore=tables)
    return reproduce("smoke", results, device="cpu"), results / "smoke"


@pytest.fixture(scope="session")
def quick_battery():
    """The quick battery of the covering simulation, run once; not to be changed."""
    from replication.theory.covering import battery

    return battery()
