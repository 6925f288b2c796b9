"""The verbs `train` and `sweep`: their options, and the runs of the CIFAR protocol that they start.

Torch is imported only when they run, so that --help is quick.
"""

import argparse
import os
import time
from collections.abc import Iterable

from replication.cli.bring_home import brought_home
from replication.cli.options import add_experiment, check_threads, chosen, folder
from replication.experiments.experiment import CHOICES, PROFILES, Experiment
from replication.experiments.grids import GRIDS, grid
from replication.experiments.journal import check_journal
from replication.experiments.plan import ORDER, plan
from replication.experiments.records import PRECISIONS, record_path
from replication.files import check_writable

FIELD_HELP = {
    "dataset": "data set; all but digits need --data-root",
    "imbalance_factor": "largest class over smallest, >= 1, where the largest keeps as many images as the smallest "
    "class has; or, for dataset folder, `natural`: the data as they are (default: natural for folder, else 100)",
    "loss": "loss function",
    "gamma": "focal loss only: focusing parameter, >= 0 (the paper: 0.5, 1, 2)",
    "beta": "class-balanced term in [0, 1]; 0 is the plain loss, 1 inverse class frequency",
    "seed": "decides subset, initial weights, batch order and augmentation",
    "depth": "layers of the network, 6 k + 2",
    "epochs": "length of the run; the schedule scales with it",
    "batch_size": "images per step",
    "base_learning_rate": "learning rate after the warm-up",
    "weight_decay": "weight decay",
    "weights": "uniform_scaled: the same weight for all classes, the average of the class-balanced ones",
    "reduction": "weighted_mean: divided by the batch's sum of weights, as torch does",
    "drop_factor": "factor on the learning rate at 80 and 90 %% of the epochs (the paper: 0.01; 0.1 at imbalance 1)",
    "shortcut": "shortcut where the shape changes: 2x2 average pooling, or every other pixel",
    "shuffle": "buffered: the input pipeline of the authors' code, simulated",
    "last_bias": "initial bias of the last layer, for sigmoid and focal: -log(C - 1), or zero",
    "reweight_from": "fraction of the epochs after which the class weights apply (0.8: deferred re-weighting)",
}
GRID_HELP = {
    "heat-map": "Figures 8 to 10, every loss, beta and imbalance",
    "balanced": "Table 2 at imbalance 1, and a class-balanced run there",
    "rerun": "the pair that the authors re-ran: softmax at 50, plain and 0.9999",
    "pairs": "softmax, sigmoid and focal 1.0, plain and 0.9999, at each imbalance",
    "controls": "one switch changed at a time",
    "smoke": "digits, to test the pipeline",
}


PLAN_HELP = "runs fixed beforehand that answer the open questions, the most important first"


def add_train_arguments(parser) -> None:
    """Add the options that define one run to an argparse parser."""
    parser.add_argument(
        "--profile", choices=PROFILES, default="paper", help="sets the defaults of the other options (default: paper)"
    )
    add_experiment(parser, Experiment, FIELD_HELP, CHOICES, {name for budget in PROFILES.values() for name in budget})


def add_sweep_arguments(parser) -> None:
    """Add the options that choose the runs of a grid, and where they run."""
    parser.add_argument("grid", metavar="GRID", choices=(*GRIDS, "plan"), help="one of the grids below")
    parser.add_argument(
        "--upto", choices=sorted(ORDER), metavar="LETTER", help=f"plan: the last of its parts to run, {_letters()}"
    )
    parser.add_argument("--profile", choices=PROFILES, default="paper", help="budget of each run (default: paper)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", metavar="SEED", help="seeds of each run (default: 0; plan: its own)"
    )
    parser.add_argument(
        "--imbalance",
        type=float,
        nargs="+",
        metavar="FACTOR",
        dest="only_imbalance",
        help="only these imbalance factors",
    )
    parser.add_argument(
        "--losses",
        nargs="+",
        choices=CHOICES["loss"],
        metavar="LOSS",
        dest="only_losses",
        help=f"only these losses, of {', '.join(CHOICES['loss'])}",
    )
    parser.add_argument("--betas", type=float, nargs="+", metavar="BETA", dest="only_betas", help="only these betas")
    add_experiment(parser, Experiment, {"dataset": FIELD_HELP["dataset"]}, CHOICES, {"dataset"})
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="runs at once (default: 1)")
    parser.add_argument(
        "--engine",
        choices=("local", "streams", "ray"),
        default="local",
        help="local: processes of this machine; streams: threads with a CUDA stream each, to fill one GPU; "
        "ray: a cluster (default: local)",
    )
    parser.add_argument(
        "--address", default=None, help="ray: auto, or HOST:PORT of a cluster (default: start one here)"
    )
    parser.add_argument(
        "--gpus-per-run", type=float, default=0.0, metavar="G", help="ray: share of a GPU for each run (default: 0)"
    )


def grid_lines() -> list[str]:
    """Return a line for each grid of `sweep`, with the number of its runs."""
    words = {name: f"{words} ({len(GRIDS[name])} runs)" for name, words in GRID_HELP.items()} | {"plan": PLAN_HELP}
    return [f"  {name:<10}{text}" for name, text in words.items()]


def _letters() -> str:
    return f"{min(ORDER)} to {max(ORDER)}"


def add_running_arguments(parser) -> None:
    """Add the options that both verbs share: time limit, precision, checkpoints and so on."""
    parser.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="after this time, stop each run at its next evaluation, with a checkpoint, and exit with code 3; the same "
        "command then continues the runs (default: none)",
    )
    parser.add_argument(
        "--journal",
        type=folder,
        metavar="FILE",
        help="also append each finished record to this file, one per line; checkpoints-<k>.tar and logits-<k>.tar "
        "beside it hold the other files that `adopt` reads",
    )
    parser.add_argument(
        "--download", action="store_true", help="let torchvision fetch the data set into --data-root first"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads per run (default: all, divided by workers; 1 with Ray)"
    )
    parser.add_argument(
        "--checkpoint-every",
        type=int,
        metavar="EPOCHS",
        help="epochs between checkpoints (default: 2 on the CPU; on CUDA one checkpoint a minute)",
    )
    parser.add_argument("--deterministic", action="store_true", help="repeat runs bit for bit on CUDA too; slower")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="precision of training (default: bfloat16 on GPUs that have it, else float32; bfloat16 is faster on CPUs "
        "with AMX)",
    )
    parser.add_argument(
        "--evaluate-every",
        type=int,
        default=2,
        metavar="EPOCHS",
        help="epochs between evaluations before the learning rate first drops; then every second epoch (default: 2)",
    )
    parser.add_argument(
        "--no-graphs",
        dest="graphs",
        action="store_false",
        help="on CUDA, do without CUDA graphs; slower",
    )
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="use torch.compile (default: on CUDA, for runs long enough to repay it)",
    )


def train(args) -> int:
    """Run one experiment unless it has a record; return the exit code of `_exit_code`."""
    from replication.training.sweep.sweep import sweep as run_all

    experiment = Experiment(**PROFILES[args.profile] | chosen(args, Experiment))
    options = _options(args, [experiment.dataset])
    _check_batches([experiment], options)
    with brought_home([experiment], options):
        outcomes = run_all([experiment], options)
    path = record_path(experiment, options.runs(experiment))
    print("; ".join([_summary(outcomes), *([str(path)] if path.exists() else [])]))
    return _exit_code(outcomes)


def sweep(args) -> int:
    """Run the experiments of a grid that have no record; return the exit code of `_exit_code`."""
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # before CUDA starts: hardware queues for streams
    from replication.training.sweep.sweep import sweep as run_all

    experiments = _experiments(args)
    for option, name in (("imbalance", "imbalance_factor"), ("losses", "loss"), ("betas", "beta")):
        experiments = _only(experiments, option, name, getattr(args, f"only_{option}"))
    if args.engine != "ray" and (args.address or args.gpus_per_run):
        raise ValueError("address and gpus-per-run must go with --engine ray")
    options = _options(args, dict.fromkeys(e.dataset for e in experiments))
    _check_batches(experiments, options)
    cluster = dict(address=args.address, gpus_per_run=args.gpus_per_run) if args.engine == "ray" else {}
    with brought_home(experiments, options):
        outcomes = run_all(experiments, options, workers=args.workers, engine=args.engine, **cluster)
    print(f"{len(experiments)} runs: {_summary(outcomes)}; records in {options.runs(experiments[0])}")
    return _exit_code(outcomes)


def _experiments(args) -> list[Experiment]:
    overrides = {"dataset": args.dataset} if hasattr(args, "dataset") else {}
    if args.grid != "plan":
        if args.upto:
            raise ValueError("upto must go with the grid plan")
        return grid(args.grid, args.profile, args.seeds if args.seeds is not None else [0], **overrides)
    chosen = plan(args.upto) if args.upto else plan()
    chosen = _only(chosen, "seeds", "seed", args.seeds)
    return _only(chosen, "dataset", "dataset", list(overrides.values()))


def _only(experiments: list[Experiment], option: str, name: str, chosen: list | None) -> list[Experiment]:
    """Select the runs with one of the chosen values; raise ValueError for a value that no run has."""
    there = dict.fromkeys(getattr(e, name) for e in experiments)
    for value in chosen or ():
        if value not in there:
            allowed = ", ".join(v if isinstance(v, str) else f"{v:g}" for v in there)
            raise ValueError(f"{option} must be among those of the grid's runs, {allowed}, got {value}")
    return [e for e in experiments if not chosen or getattr(e, name) in chosen]


def _options(args, datasets: Iterable[str]):
    from replication.data.sources import load
    from replication.training.device import pick_device
    from replication.training.one_run import RunOptions
    from replication.training.sweep.task import load_once

    deadline = None if args.time_limit is None else time.time() + args.time_limit
    pick_device(args.device)
    if args.time_limit is not None and not args.time_limit > 0:
        raise ValueError(f"time-limit must be a number of seconds > 0, got {args.time_limit:g}")
    if args.evaluate_every < 2:
        raise ValueError(f"evaluate-every must be a whole number of epochs >= 2, got {args.evaluate_every}")
    if args.checkpoint_every is not None and args.checkpoint_every < 1:
        raise ValueError(f"checkpoint-every must be a whole number of epochs >= 1, got {args.checkpoint_every}")
    if getattr(args, "engine", "local") != "ray":  # a cluster may have larger nodes, and checks by itself
        check_threads(args.threads, os.cpu_count())
    check_writable(args.results)
    if args.journal:
        check_journal(args.journal)
    for dataset in datasets:
        if args.download:
            load(dataset, args.data_root, download=True)
        load_once(dataset, args.data_root)  # as the runs ask for it, so that it is read once
    return RunOptions(
        args.results,
        args.data_root,
        args.device,
        args.threads,
        args.deterministic,
        args.compile,
        args.checkpoint_every,
        args.precision,
        evaluate_every=args.evaluate_every,
        graphs=args.graphs,
        deadline=deadline,
        journal=args.journal,
    )


def _check_batches(experiments: list[Experiment], options) -> None:
    """Raise ValueError, before any run starts, for a run whose whole training would not fill one batch."""
    from replication.training.sweep.task import load_once

    for e in experiments:
        train, _ = load_once(e.dataset, options.data_root)
        assert e.imbalance_factor is not None  # __post_init__ has set it
        kept = train.long_tailed_counts(e.imbalance_factor)
        if e.batch_size > e.epochs * sum(kept):
            raise ValueError(
                f"batch-size must be at most epochs x training images = {e.epochs * sum(kept)}, got {e.batch_size}"
            )
        if e.dataset == "folder" and sum(kept) < len(train):
            print(
                f"--imbalance {e.imbalance_factor:g} keeps {sum(kept)} of {len(train)} images, {max(kept)} to "
                f"{min(kept)} of a class, because the smallest class has {min(train.class_counts)}; "
                "--imbalance natural keeps all"
            )


def _summary(outcomes) -> str:
    words = dict(kept="there already", elsewhere="at work in another process")
    return ", ".join(f"{n} {words.get(k, k)}" for k, n in outcomes.items() if n)


def _exit_code(outcomes) -> int:
    """Return 1 if a run diverged or failed, 3 if one is not done (time limit, or in another process), else 0."""
    if outcomes["diverged"] or outcomes["failed"]:
        return 1
    return 3 if outcomes["stopped"] or outcomes["not started"] or outcomes["elsewhere"] else 0
