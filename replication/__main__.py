"""The command line: python -m replication VERB; see `python -m replication --help`."""

import argparse
import os
import signal
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from replication import __version__
from replication.training import large_scale_command
from replication.training.experiment import CHOICES, GRIDS, PROFILES, Experiment, grid

FIELD_HELP = {
    "dataset": "data set; all but digits need --data-root",
    "imbalance_factor": "largest class over smallest, >= 1",
    "loss": "loss function",
    "gamma": "focal loss only: focusing parameter, >= 0 (the paper: 0.5, 1, 2)",
    "beta": "class-balanced term in [0, 1]; 0 is the plain loss, 1 inverse class frequency",
    "seed": "decides subset, initial weights, batch order and augmentation",
    "depth": "layers of the network, 6 k + 2",
    "epochs": "length of the run; the schedule scales with it",
    "batch_size": "images a step",
    "base_learning_rate": "learning rate after the warm-up",
    "weight_decay": "weight decay",
    "weights": "uniform_scaled: no re-balancing, the loss times the class-balanced loss's average weight",
    "reduction": "weighted_mean: divided by the batch's sum of weights, as torch does",
    "drop_factor": "learning rate drop at 80 and 90 %% of the epochs",
    "shortcut": "where the shape changes: 2x2 average pool, or every other pixel",
    "shuffle": "buffered: the input pipeline of the authors' code, simulated",
    "last_bias": "sigmoid and focal: -log(C - 1) at the start, or zero",
}
OPTION = {"imbalance_factor": "--imbalance"}


class _Parser(argparse.ArgumentParser):
    """argparse, with errors on one line, of one process where torchrun started many."""

    def error(self, message: str) -> None:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n" if os.environ.get("RANK", "0") == "0" else None)


def _add_experiment(parser, names) -> None:
    for field in fields(Experiment):
        if field.name in names:
            kind = float if field.type in (float, float | None) else field.type
            keywords = (
                dict(choices=CHOICES[field.name])
                if field.name in CHOICES
                else dict(type=kind, metavar=kind.__name__.upper())
            )
            option = OPTION.get(field.name, "--" + field.name.replace("_", "-"))
            parser.add_argument(
                option, dest=field.name, help=FIELD_HELP[field.name], default=argparse.SUPPRESS, **keywords
            )


def _add_places(parser, data: bool = True, device: bool = True) -> None:
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="where results go (default: results)"
    )
    if data:
        parser.add_argument("--data-root", type=Path, metavar="DIR", help="the folder that holds the data set")
    if device:
        parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")


def _add_running(parser) -> None:
    parser.add_argument(
        "--download", action="store_true", help="let torchvision fetch the data set into --data-root first"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads a run (default: all, divided between workers)"
    )
    parser.add_argument(
        "--checkpoint-every", type=int, default=2, metavar="EPOCHS", help="epochs between checkpoints (default: 2)"
    )
    parser.add_argument("--deterministic", action="store_true", help="exact repetition on CUDA too, slower")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="of training (default: bfloat16 on CUDA, float32 on CPUs; bfloat16 is faster on CPUs with AMX)",
    )
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="torch.compile (default: on CUDA, in runs long enough to repay it)",
    )


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
    p.add_argument("--dim", type=int, default=1, metavar="d", help="dimension of cubes and balls, 1 to 6 (default: 1)")
    p.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    p.add_argument(
        "--full",
        action="store_true",
        help="minutes: run the committed battery, write RESULTS/covering/*.csv and figures",
    )
    _add_places(p, device=False)
    p = verb("train", _train, "run one experiment and write its record")
    p.add_argument(
        "--profile", choices=PROFILES, default="paper", help="budget that the other options start from (default: paper)"
    )
    _add_experiment(p, [f.name for f in fields(Experiment)])
    _add_places(p)
    _add_running(p)
    p = verb("sweep", _sweep, "run a grid of experiments; those whose record is there are skipped")
    p.add_argument(
        "grid", metavar="GRID", choices=GRIDS, help=", ".join(f"{k} ({len(v)} runs)" for k, v in GRIDS.items())
    )
    p.add_argument("--profile", choices=PROFILES, default="paper", help="budget of each run (default: paper)")
    p.add_argument(
        "--seeds", type=int, nargs="+", default=[0], metavar="SEED", help="each run once with each (default: 0)"
    )
    p.add_argument(
        "--imbalance",
        type=float,
        nargs="+",
        metavar="FACTOR",
        dest="only_imbalance",
        help="only these imbalance factors",
    )
    p.add_argument("--losses", nargs="+", choices=CHOICES["loss"], dest="only_losses", help="only these losses")
    p.add_argument("--betas", type=float, nargs="+", metavar="BETA", dest="only_betas", help="only these betas")
    _add_experiment(p, ["dataset"])
    p.add_argument("--workers", type=int, default=1, metavar="W", help="runs at once (default: 1)")
    p.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="processes of this machine, or Ray (default: local)"
    )
    p.add_argument("--address", default=None, help="ray: auto, or HOST:PORT of a cluster (default: start one here)")
    p.add_argument(
        "--gpus-per-run", type=float, default=0.0, metavar="G", help="ray: share of a GPU for each run (default: 0)"
    )
    _add_places(p)
    _add_running(p)
    p = verb("large-scale", _large_scale, "run one row of Table 3, alone or under torchrun")
    large_scale_command.add_arguments(p)
    p = verb("report", _report, "rebuild tables, figures, claims and results/README.md from the records")
    _add_places(p, data=False, device=False)
    return parser


def _where(args):
    from replication.training.run import pick_device
    from replication.training.sweep import Where, load_once

    pick_device(args.device)
    if args.checkpoint_every < 1:
        raise ValueError(f"checkpoint-every must be a whole number of epochs >= 1, got {args.checkpoint_every}")
    if args.threads is not None and args.threads < 1:
        raise ValueError(f"threads must be a whole number >= 1, got {args.threads}")
    _check_writable(args.results)
    load_once(args.experiment_dataset, args.data_root, args.download)
    return Where(
        args.results,
        args.data_root,
        args.device,
        args.threads,
        args.deterministic,
        args.compile,
        args.checkpoint_every,
        args.precision,
    )


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"results must be a folder that can be written, got {str(folder)!r} ({error.strerror})"
        ) from error


def _train(args) -> int:
    from replication.training.records import record_path
    from replication.training.sweep import sweep

    chosen = {f.name: getattr(args, f.name) for f in fields(Experiment) if hasattr(args, f.name)}
    experiment = Experiment(**PROFILES[args.profile] | chosen)
    args.experiment_dataset = experiment.dataset
    where = _where(args)
    outcomes = sweep([experiment], where)
    print(_summary(outcomes), record_path(experiment, where.runs(experiment)), sep="; ")
    return _exit_code(outcomes)


def _sweep(args) -> int:
    from replication.training.sweep import sweep

    overrides = {"dataset": args.dataset} if hasattr(args, "dataset") else {}
    experiments = [
        e
        for e in grid(args.grid, args.profile, args.seeds, **overrides)
        if (not args.only_imbalance or e.imbalance_factor in args.only_imbalance)
        and (not args.only_losses or e.loss in args.only_losses)
        and (not args.only_betas or e.beta in args.only_betas)
    ]
    if not experiments:
        raise ValueError("imbalance, losses and betas must leave at least one run of the grid")
    args.experiment_dataset = experiments[0].dataset
    where = _where(args)
    cluster = dict(address=args.address, gpus_per_run=args.gpus_per_run) if args.engine == "ray" else {}
    if args.engine != "ray" and (args.address or args.gpus_per_run):
        raise ValueError("address and gpus-per-run must go with --engine ray")
    outcomes = sweep(experiments, where, workers=args.workers, engine=args.engine, **cluster)
    print(f"{len(experiments)} runs: {_summary(outcomes)}; records in {where.runs(experiments[0])}")
    return _exit_code(outcomes)


def _summary(outcomes) -> str:
    words = dict(kept="there already", elsewhere="at work in another process")
    return ", ".join(f"{n} {words.get(k, k)}" for k, n in outcomes.items() if n)


def _exit_code(outcomes) -> int:
    return 1 if outcomes["diverged"] or outcomes["failed"] else 0


def _covering(args) -> int:
    one = (args.volume, args.draws, args.replicates) != (None, None, None) or args.geometry != "prototypes"
    if args.full and one:
        raise ValueError("full must stand without volume, draws, replicates and geometry: it runs the whole battery")
    if not args.full:
        from replication.theory import covering

        return covering.main(args)
    from replication.report.covering_results import run

    _check_writable(args.results)
    verdict = run(args.results, full=True, data_root=args.data_root, seed=args.seed)
    print(f"{verdict.message}; written to {args.results / 'covering'}")
    return 0 if verdict.passed else 1


def _reproduce(args) -> int:
    from replication.reproduce import reproduce

    _check_writable(args.results)
    return reproduce(args.profile, args.results, args.data_root, args.device)


def _large_scale(args) -> int:
    return large_scale_command.main(args)


def _report(args) -> int:
    from replication.report.site import rebuild

    _check_writable(args.results)
    paths = rebuild(args.results)
    print(f"{len(paths)} files rebuilt from the records: start with {args.results / 'README.md'}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    if args.run in (_train, _sweep):  # a plain kill, `timeout` or a cluster's notice ends these as Ctrl-C does
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("interrupted; no finished run is lost, and the same command goes on from here", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
