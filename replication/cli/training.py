"""The verbs `train` and `sweep`: their options, and the runs of the CIFAR protocol that they start.

Torch is imported only when they run, so that --help is quick.
"""

import argparse
import os
import time
from collections import Counter
from pathlib import Path

from replication.cli.bring_home import bring_home
from replication.cli.options import add_experiment, add_shared, check_least, check_threads, chosen, folder
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


def add_train_arguments(parser) -> None:
    """Add the options of `train` to an argparse parser."""
    experiment = parser.add_argument_group("the experiment")
    experiment.add_argument(
        "--profile", choices=PROFILES, default="paper", help="sets the defaults of the other options (default: paper)"
    )
    budget = {name for budget in PROFILES.values() for name in budget}
    add_experiment(experiment, Experiment, FIELD_HELP, CHOICES, budget)
    _add_running_arguments(parser)


def add_sweep_arguments(parser) -> None:
    """Add the options of `sweep`: those that choose the runs of a grid, and where and how they run."""
    add, losses = parser.add_argument, CHOICES["loss"]
    letters = f"{min(ORDER)} to {max(ORDER)}"
    add("grid", metavar="GRID", choices=(*GRIDS, "plan"), help="one of the grids below")
    add("--upto", choices=sorted(ORDER), metavar="LETTER", help=f"plan: the last of its parts to run, {letters}")
    add("--profile", choices=PROFILES, default="paper", help="budget of each run (default: paper)")
    add("--seeds", type=int, nargs="+", metavar="SEED", help="seeds of each run (default: 0; plan: its own)")
    add("--imbalance", type=float, nargs="+", metavar="FACTOR", help="only these imbalance factors")
    add("--losses", nargs="+", choices=losses, metavar="LOSS", help=f"only these losses, of {', '.join(losses)}")
    add("--betas", type=float, nargs="+", metavar="BETA", help="only these betas")
    add_experiment(parser, Experiment, {"dataset": FIELD_HELP["dataset"]}, CHOICES, {"dataset"})
    add("--workers", type=int, default=1, metavar="W", help="runs at once (default: 1)")
    add(
        "--engine",
        choices=("local", "streams", "ray"),
        default="local",
        help="local: processes of this machine; streams: threads with a CUDA stream each, to fill one GPU; "
        "ray: a cluster (default: local)",
    )
    add("--address", help="ray: auto, or HOST:PORT of a cluster (default: start one here)")
    add("--gpus-per-run", type=float, default=0.0, metavar="G", help="ray: share of a GPU for each run (default: 0)")
    _add_running_arguments(parser)


def _add_running_arguments(parser) -> None:
    """Add the options that both verbs share, most of them fields of RunOptions."""
    add_shared(parser.add_argument_group("files and device"), "--results", "--data-root", "--device")
    add = parser.add_argument_group("training").add_argument
    add(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="after this time, stop each run at its next evaluation, with a checkpoint, and exit with code 3; the same "
        "command then continues the runs (default: none)",
    )
    add(
        "--journal",
        type=folder,
        metavar="FILE",
        help="also append each finished record to this file, one per line; checkpoints-<k>.tar and logits-<k>.tar "
        "beside it hold the other files that `adopt` reads",
    )
    add("--download", action="store_true", help="let torchvision fetch the data set into --data-root first")
    add("--threads", type=int, metavar="N", help="CPU threads per run (default: all, divided by workers; 1 with Ray)")
    add(
        "--checkpoint-every",
        type=int,
        metavar="EPOCHS",
        help="epochs between checkpoints (default: 2 on the CPU; on CUDA one checkpoint a minute)",
    )
    add("--deterministic", action="store_true", help="repeat runs bit for bit on CUDA too; slower")
    add(
        "--precision",
        choices=PRECISIONS,
        help="precision of training (default: bfloat16 on GPUs that have it, else float32; bfloat16 is faster on CPUs "
        "with AMX)",
    )
    add(
        "--evaluate-every",
        type=int,
        default=2,
        metavar="EPOCHS",
        help="epochs between evaluations before the learning rate first drops; then every second epoch (default: 2)",
    )
    add("--no-graphs", dest="graphs", action="store_false", help="on CUDA, do without CUDA graphs; slower")
    add(
        "--compile",
        dest="compiled",
        action=argparse.BooleanOptionalAction,
        help="use torch.compile (default: on CUDA, for runs long enough to repay it)",
    )


def train(args) -> int:
    """Run one experiment unless it has a record; return the exit code of `_exit_code`."""
    experiment = Experiment(**PROFILES[args.profile] | chosen(args, Experiment))
    outcomes, folder = _run([experiment], args)
    path = record_path(experiment, folder)
    print(_summary(outcomes) + (f"; {path}" if path.exists() else ""))
    return _exit_code(outcomes)


def sweep(args) -> int:
    """Run the experiments of a grid that have no record; return the exit code of `_exit_code`."""
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # before CUDA starts: hardware queues for streams
    experiments = _experiments(args)
    if args.engine != "ray" and (args.address or args.gpus_per_run):
        raise ValueError("address and gpus-per-run must go with --engine ray")
    cluster = dict(address=args.address, gpus_per_run=args.gpus_per_run) if args.engine == "ray" else {}
    outcomes, folder = _run(experiments, args, workers=args.workers, engine=args.engine, **cluster)
    print(f"{len(experiments)} runs: {_summary(outcomes)}; records in {folder}")
    return _exit_code(outcomes)


def _experiments(args) -> list[Experiment]:
    """Return the runs that the options choose: of a grid under a profile, or of the plan, which has its own budgets."""
    overrides = chosen(args, Experiment)  # the data set, if it is given
    only = dict(
        imbalance_factor=("imbalance", args.imbalance), loss=("losses", args.losses), beta=("betas", args.betas)
    )
    if args.grid == "plan":
        experiments = plan(args.upto or ORDER[-1])
        only |= dict(seed=("seeds", args.seeds), dataset=("dataset", list(overrides.values())))
    elif args.upto:
        raise ValueError("upto must go with the grid plan")
    else:
        experiments = grid(args.grid, args.profile, args.seeds or [0], **overrides)
    for name, (option, values) in only.items():
        if values:
            experiments = _only(experiments, option, name, values)
    return experiments


def _only(experiments: list[Experiment], option: str, name: str, values: list) -> list[Experiment]:
    """Select the runs with one of the values of a field; raise ValueError for a value that no run has."""
    there = dict.fromkeys(getattr(e, name) for e in experiments)
    for value in values:
        if value not in there:
            allowed = ", ".join(v if isinstance(v, str) else f"{v:g}" for v in there)
            raise ValueError(f"{option} must be among those of the grid's runs, {allowed}, got {value}")
    return [e for e in experiments if getattr(e, name) in values]


def _run(experiments: list[Experiment], args, **engine) -> tuple[Counter, Path]:
    """Run experiments after checks of everything they need; return the outcomes and the folder of their records."""
    from replication.training.sweep.sweep import sweep as run_all

    options = _options(args, experiments)
    _say_what_is_left_out(experiments, options)
    try:
        outcomes = run_all(experiments, options, **engine)
    finally:
        bring_home(experiments, options)
    return outcomes, options.runs(experiments[0])


def _options(args, experiments: list[Experiment]):
    """Check the options that both verbs share and load the data sets; return the RunOptions."""
    from replication.data.sources import load
    from replication.training.device import pick_device
    from replication.training.one_run import RunOptions
    from replication.training.sweep.task import load_once

    deadline = None if args.time_limit is None else time.time() + args.time_limit
    pick_device(args.device)
    if args.time_limit is not None and not args.time_limit > 0:
        raise ValueError(f"time-limit must be a number of seconds > 0, got {args.time_limit:g}")
    check_least(args, evaluate_every=2, checkpoint_every=1)
    if getattr(args, "engine", "local") != "ray":  # a cluster may have larger nodes, and checks by itself
        check_threads(args.threads)
    check_writable(args.results)
    if args.journal:
        check_journal(args.journal)
    for dataset in dict.fromkeys(e.dataset for e in experiments):
        if args.download:
            load(dataset, args.data_root, download=True)
        load_once(dataset, args.data_root)  # as the runs ask for it, so that it is read once
    return RunOptions(**chosen(args, RunOptions), deadline=deadline)


def _say_what_is_left_out(experiments: list[Experiment], options) -> None:
    """Print how many images of a user's own folder a run leaves out, if it does."""
    from replication.training.sweep.task import load_once

    for e in (e for e in experiments if e.dataset == "folder"):
        train, _ = load_once("folder", options.data_root)
        kept = train.long_tailed_counts(e.imbalance_factor)
        if sum(kept) < len(train):
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
