"""The command line: python -m replication VERB; see `python -m replication --help`."""

import argparse
import os
import signal
import sys
from pathlib import Path

from replication import __version__
from replication.data.whole_file import check_writable
from replication.training import large_scale_command, sweep_command
from replication.training.experiment import PROFILES

TRAINS = ("train", "sweep", "large-scale")  # verbs that spend their time in training
KEEP_MEMORY = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=2147483647:glibc.malloc.hugetlb=1"


class _Parser(argparse.ArgumentParser):
    """argparse, with errors on one line, of one process where torchrun started many."""

    def error(self, message: str) -> None:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n" if os.environ.get("RANK", "0") == "0" else None)


def _add_places(parser, data: bool = True, device: bool = True) -> None:
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="where results go (default: results)"
    )
    if data:
        parser.add_argument("--data-root", type=Path, metavar="DIR", help="the folder that holds the data set")
    if device:
        parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m replication", description="Class-balanced loss (Cui et al., CVPR 2019), replicated."
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    def verb(name: str, run, text: str, **keywords):
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", **keywords)
        sub.set_defaults(run=run)
        return sub

    p = verb("reproduce", _reproduce, "run notebooks 01 to 09 in order and keep the executed copies with an index page")
    p.add_argument("--profile", choices=PROFILES, default="smoke", help="budget of the training runs (default: smoke)")
    _add_places(p)
    p = verb("covering", _covering, "simulate the random covering, compare it with E_n; exit 1 if the check fails")
    p.add_argument(
        "--volume", type=float, nargs="+", metavar="N", help="volume of the space, >= 1 (default: a battery)"
    )
    p.add_argument("--draws", type=int, nargs="+", metavar="n", help="samples drawn, >= 0")
    p.add_argument("--replicates", type=int, metavar="R", help="independent repetitions, >= 2")
    p.add_argument(
        "--geometry",
        choices=("prototypes", "cubes", "balls"),
        default="prototypes",
        help="what is dropped (default: prototypes)",
    )
    p.add_argument("--dim", type=int, metavar="d", help="dimension of cubes and balls, 1 to 6 (default: 1)")
    p.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    p.add_argument(
        "--full",
        action="store_true",
        help="minutes: run the committed battery, write RESULTS/covering/*.csv and figures",
    )
    _add_places(p, device=False)
    p = verb("train", sweep_command.train, "run one experiment and write its record")
    sweep_command.add_train_arguments(p)
    _add_places(p)
    sweep_command.add_running_arguments(p)
    p = verb("sweep", sweep_command.sweep, "run a grid of experiments; those whose record is there are skipped")
    sweep_command.add_sweep_arguments(p)
    _add_places(p)
    sweep_command.add_running_arguments(p)
    p = verb("large-scale", large_scale_command.main, "run one row of Table 3, alone or under torchrun")
    large_scale_command.add_arguments(p)
    p = verb("report", _report, "rebuild tables, figures, claims and results/README.md from the records")
    _add_places(p, data=False, device=False)
    return parser


def _covering(args) -> int:
    chosen = (args.volume, args.draws, args.replicates, args.dim)
    one = any(value is not None for value in chosen) or args.geometry != "prototypes"
    if args.full and one:
        raise ValueError(
            "full must stand without volume, draws, replicates, geometry and dim: it runs the whole battery"
        )
    if args.dim is not None and args.geometry == "prototypes":
        raise ValueError("dim must go with geometry cubes or balls: prototypes have none")
    if args.data_root and not args.full:
        raise ValueError("data-root must go with full: only the near-duplicates of the whole battery read images")
    if not args.full:
        from replication.theory import covering

        args.dim = 1 if args.dim is None else args.dim
        return covering.main(args)
    from replication.report.covering_results import run

    check_writable(args.results)
    verdict = run(args.results, full=True, data_root=args.data_root, seed=args.seed)
    print(f"{verdict.message}; written to {args.results / 'covering'}")
    return 0 if verdict.passed else 1


def _reproduce(args) -> int:
    from replication.reproduce import reproduce

    check_writable(args.results)
    return reproduce(args.profile, args.results, args.data_root, args.device)


def _report(args) -> int:
    from replication.report.site import rebuild

    check_writable(args.results)
    paths = rebuild(args.results)
    print(f"{len(paths)} files rebuilt from the records: start with {args.results / 'README.md'}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    if args.verb in ("train", "sweep"):  # a plain kill, `timeout` or a cluster's notice ends these as Ctrl-C does
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        resumable = "; no finished run is lost, and the same command goes on from here"
        print(f"interrupted{resumable if args.verb in TRAINS else ''}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def keep_memory() -> None:
    """Start this process anew, workers-to-be included, with a malloc that keeps what is freed, in huge pages.

    A training step frees and asks for hundreds of megabytes; given back to the system in between, they cost about a
    quarter of it in page faults (results/benchmarks_training.md).  Does nothing where GLIBC_TUNABLES is set already;
    another C library than glibc ignores it.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        environment = os.environ | {"GLIBC_TUNABLES": KEEP_MEMORY}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


if __name__ == "__main__":
    if set(sys.argv[1:2]) & set(TRAINS):
        keep_memory()
    sys.exit(main())
