"""The verbs of the command line: their options, their help and the functions that they run."""

import argparse

import replication
from replication.cli import adopt as adopt_command
from replication.cli import gpu
from replication.cli import large_scale as large_scale_command
from replication.cli import pack as pack_command
from replication.cli import training as sweep_command
from replication.cli import weights as weights_command
from replication.cli.covering import _covering
from replication.cli.options import _add_places, _Parser
from replication.experiments.experiment import PROFILES
from replication.files import check_writable

EXAMPLES = """examples:
  python -m replication weights 5000 500 50                 which beta?
  python -m replication reproduce                           all notebooks on a small data set, in minutes
  python -m replication train --profile cpu --data-root DIR --imbalance 100 --beta 0.9999
  python -m replication report                              tables and figures from the records
"""
EPILOGS = {"sweep": ["grids:", *sweep_command.grid_lines(), ""]}  # before the examples of a verb


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; `run` of what it parses is the function of the verb.

    >>> parser().parse_args(["weights", "50", "5"]).verb
    'weights'
    """
    top = _Parser(
        prog="python -m replication",
        description="Class-balanced loss (Cui et al., CVPR 2019), replicated.",
        epilog=EXAMPLES,
        usage="%(prog)s VERB [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,  # added below, after the verbs
    )
    verbs = top.add_subparsers(
        title="verbs (VERB --help lists the options of one)",
        dest="verb",
        required=True,
        metavar="VERB",
        prog="python -m replication",
        parser_class=_Parser,
    )
    options = top.add_argument_group("options")
    options.add_argument("-h", "--help", action="help", help="show this help message and exit")
    options.add_argument(
        "--version", action="version", version=replication.__version__, help="show the version and exit"
    )

    def verb(name: str, run, text: str, usage: str, *examples: str):
        sub = verbs.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            usage=f"%(prog)s {usage}",
            epilog="\n".join([*EPILOGS.get(name, []), "examples:", *(f"  {example}" for example in examples)]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        return sub

    p = verb(
        "weights",
        weights_command.main,
        "show what each beta does to the weights of given class counts",
        "COUNT [COUNT ...] [--beta BETA [BETA ...]]",
        "python -m replication weights 5000 500 50 --beta 0.99 0.999",
    )
    weights_command.add_arguments(p)
    p = verb(
        "reproduce",
        _reproduce,
        "run all notebooks in order and write their pages",
        "[options]",
        "python -m replication reproduce",
        "python -m replication reproduce --profile cpu --data-root DIR",
    )
    p.add_argument("--profile", choices=PROFILES, default="smoke", help="budget of the training runs (default: smoke)")
    _add_places(p)
    p = verb(
        "covering",
        _covering,
        "simulate the random covering and compare it with E_n; exit with 1 if they differ",
        "[options]",
        "python -m replication covering --volume 100 --draws 50 500",
        "python -m replication covering --geometry balls --dim 2 --volume 100",
    )
    p.add_argument("--volume", type=float, nargs="+", metavar="N", help="volume of the space, >= 1 (default: several)")
    p.add_argument("--draws", type=int, nargs="+", metavar="n", help="samples drawn, >= 0")
    p.add_argument("--replicates", type=int, metavar="R", help="independent repetitions, >= 2")
    p.add_argument(
        "--geometry",
        choices=("prototypes", "cubes", "balls"),
        default="prototypes",
        help="shape of the samples (default: prototypes)",
    )
    p.add_argument("--dim", type=int, metavar="d", help="dimension of cubes and balls, 1 to 6 (default: 1)")
    p.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    p.add_argument(
        "--full",
        action="store_true",
        help="run all simulations of the report (minutes) and write RESULTS/covering/*.csv and figures",
    )
    _add_places(p, device=False)
    p = verb(
        "train",
        sweep_command.train,
        "run one experiment and write its record",
        "[options]",
        "python -m replication train --profile smoke --imbalance 10 --beta 0.999",
        "python -m replication train --profile cpu --data-root DIR --loss focal --gamma 1 --beta 0.9999",
    )
    sweep_command.add_train_arguments(p.add_argument_group("the experiment"))
    _add_places(p.add_argument_group("files and device"))
    sweep_command.add_running_arguments(p.add_argument_group("training"))
    p = verb(
        "sweep",
        sweep_command.sweep,
        "run a grid of experiments; those that have a record are skipped",
        "GRID [options]",
        "python -m replication sweep smoke --profile smoke",
        "python -m replication sweep heat-map --data-root DIR --seeds 0 1 2 --workers 4",
    )
    sweep_command.add_sweep_arguments(p)
    _add_places(p.add_argument_group("files and device"))
    sweep_command.add_running_arguments(p.add_argument_group("training"))
    p = verb(
        "check-gpu",
        gpu.check,
        "check that a GPU computes correctly, and measure its speed (about a minute)",
        "[options]",
        "python -m replication check-gpu --out check.json",
    )
    gpu.add_check_arguments(p)
    p = verb(
        "large-scale",
        large_scale_command.main,
        "run one row of Table 3, alone or under torchrun",
        "--dataset NAME --data-root DIR [options]",
        "python -m replication large-scale --dataset inat2018 --data-root DIR --loss focal --gamma 0.5 --beta 0.999",
        "torchrun --standalone --nproc-per-node 8 -m replication large-scale --dataset inat2018 --data-root DIR",
    )
    large_scale_command.add_arguments(p)
    p = verb(
        "pack",
        pack_command.main,
        "write the training images of given runs, and the test set, to one small file",
        "DEST --data-root DIR (--runs FACTOR:SEEDS [...] | --imbalance FACTOR) [options]",
        "python -m replication pack PACK --data-root DIR --dataset cifar10 --runs 50:1,2 100:0,1,2",
    )
    pack_command.add_arguments(p)
    p = verb(
        "adopt",
        adopt_command.adopt,
        "copy records and checkpoints from another machine into the results",
        "FILE [options]",
        "python -m replication adopt out/records.jsonl",
    )
    adopt_command.add_arguments(p)
    _add_places(p, data=False, device=False)
    p = verb(
        "report",
        _report,
        "rebuild tables, figures, claims and results/README.md from the records",
        "[options]",
        "python -m replication report",
    )
    _add_places(p, data=False, device=False)
    return top


def _reproduce(args) -> int:
    from replication.cli.notebooks import reproduce
    from replication.training.device import pick_device

    pick_device(args.device)
    check_writable(args.results)
    return reproduce(args.profile, args.results, args.data_root, args.device)


def _report(args) -> int:
    from replication.report.readme import write_readme
    from replication.report.site import rebuild

    if not args.results.is_dir():
        raise ValueError(f"results must be a folder that holds records, got {str(args.results)!r}")
    check_writable(args.results)
    paths = [*rebuild(args.results), *write_readme(args.results)]
    print(f"{len(paths)} files rebuilt from the records: start with {args.results / 'README.md'}")
    return 0
