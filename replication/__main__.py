"""The command line: python -m replication VERB; see `python -m replication --help`."""

# ruff: noqa: E402  (Ctrl-C is handled before the package is imported)

import contextlib
import importlib
import os
import signal
import sys


def _leave(*_) -> None:
    """End at once on Ctrl-C while libraries are imported, which would turn KeyboardInterrupt into other errors."""
    os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)  # before the imports below

import replication
from replication.cli.options import one_line
from replication.cli.verbs import parser
from replication.training.memory import end_of_memory

SLOW_IMPORTS = {  # of a verb, done while Ctrl-C still ends the process at once
    "train": "replication.training.cifar.train",
    "sweep": "replication.training.cifar.train",
    "large-scale": "replication.training.large_scale.train",
    "reproduce": "replication.cli.notebooks",
    "report": "replication.report.site",
    "covering": "replication.theory.covering",
}
TRAINS = ("train", "sweep", "large-scale")  # verbs that spend their time in training
EXTRAS = {"reproduce": "notebooks", "covering": "report", "report": "report"}  # by verb; "train" for the others
KEEP_MEMORY = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=2147483647:glibc.malloc.hugetlb=1"


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return its exit code: 2 for bad input, with one line on standard error; 130 for Ctrl-C."""
    _open_missing_streams()
    if "ClassBalancedLoss" not in getattr(replication, "__all__", ()):  # installed later, into the same folder
        cure = "uninstall both and install class-balanced-replication again, or use one environment for each"
        _tell(f"error: {replication.__file__} is an unrelated package called replication: {cure}")
        return 2
    args = parser().parse_args(arguments)
    if args.verb in ("train", "sweep"):  # a plain kill, `timeout` or a cluster's notice ends these as Ctrl-C does
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _listen(args.verb)
        return args.run(args)
    except KeyboardInterrupt:
        resumable = "; no finished run is lost, and the same command goes on from here"
        _tell(f"interrupted{resumable if args.verb in TRAINS else ''}")
        return 130
    except ModuleNotFoundError as error:
        return _missing(args.verb, error)
    except (ValueError, OSError, OverflowError, MemoryError, RuntimeError) as error:
        memory = end_of_memory(error)
        if isinstance(error, RuntimeError) and memory is None:
            raise
        _tell(f"error: {memory or one_line(error)}")
        return 2


def _missing(verb: str, error: ModuleNotFoundError) -> int:
    """Name the extra that installs a missing library; a missing module of this package is a bug."""
    if not error.name or error.name.split(".")[0] == "replication":
        raise error
    extra = EXTRAS.get(verb, "train")
    _tell(f"error: {verb} needs {error.name}, which the extra {extra} installs: pip install '.[{extra}]' in a clone")
    return 2


def _listen(verb: str) -> None:
    """Import the slow modules, then let Ctrl-C end the verb in an orderly way."""
    if signal.getsignal(signal.SIGINT) is _leave:
        if verb in SLOW_IMPORTS:
            importlib.import_module(SLOW_IMPORTS[verb])
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _tell(message: str) -> None:
    with contextlib.suppress(OSError):  # a reader that has gone, as after `2>&1 | head`
        print(message, file=sys.stderr, flush=True)


def _open_missing_streams() -> None:
    """Open standard output and error if they are closed (2>&-), so that no later file gets their numbers."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_WRONLY)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)  # or it would be closed in the worker processes that draw figures
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))


def keep_memory() -> None:
    """Restart this process, and so its later workers, with a malloc that keeps freed memory, in huge pages.

    A training step allocates and frees hundreds of megabytes.  If they are returned to the system in between, page
    faults take about a quarter of the step (results/benchmarks_training.md).  This does nothing if GLIBC_TUNABLES is
    set already, and C libraries other than glibc ignore it.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        environment = os.environ | {"GLIBC_TUNABLES": KEEP_MEMORY}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in TRAINS and not {"-h", "--help"} & set(sys.argv):
        keep_memory()
    sys.exit(main())
