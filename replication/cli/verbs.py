"""The verbs of the command line: their options, their help and the functions that they run."""

import argparse

import replication
from replication.cli import adopt, covering, gpu, large_scale, pack, training, weights
from replication.cli.options import Parser, add_shared
from replication.experiments.experiment import PROFILES
from replication.experiments.grids import GRIDS
from replication.files import check_writable

EXAMPLES = """examples:
  python -m replication weights 5000 500 50                 which beta?
  python -m replication reproduce                           all notebooks on a small data set, in minutes
  python -m replication train --profile cpu --data-root DIR --imbalance 100 --beta 0.9999
  python -m replication report                              tables and figures from the records
"""
GRID_HELP = {
    "heat-map": "Figures 8 to 10, every loss, beta and imbalance",
    "balanced": "Table 2 at imbalance 1, and a class-balanced run there",
    "rerun": "the pair that the authors re-ran: softmax at 50, plain and 0.9999",
    "pairs": "softmax, sigmoid and focal 1.0, plain and 0.9999, at each imbalance",
    "controls": "one switch changed at a time",
    "smoke": "digits, to test the pipeline",
}
EPILOGS = {  # before the examples of a verb
    "sweep": [
        "grids:",
        *(f"  {name:<10}{text} ({len(GRIDS[name])} runs)" for name, text in GRID_HELP.items()),
        "  plan      runs fixed beforehand that answer the open questions, the most important first",
        "",
    ]
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; `run` of what it parses is the function of the verb.

    >>> parser().parse_args(["weights", "50", "5"]).verb
    'weights'
    """
    top = Parser(
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
        parser_class=Parser,
    )
    options = top.add_argument_group("options")
    options.add_argument("-h", "--help", action="help", help="show this help message and exit")
    options.add_argument(
        "--version", action="version", version=replication.__version__, help="show the version and exit"
    )

    def verb(name: str, run, add_arguments, text: str, *examples: str, usage: str = "[options]") -> None:
        sub = verbs.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            usage=f"%(prog)s {usage}",
            epilog="\n".join([*EPILOGS.get(name, []), "examples:", *(f"  {example}" for example in examples)]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        add_arguments(sub)

    verb(
        "weights",
        weights.main,
        weights.add_arguments,
        "show what each beta does to the weights of given class counts",
        "python -m replication weights 5000 500 50 --beta 0.99 0.999",
        usage="COUNT [COUNT ...] [--beta BETA [BETA ...]]",
    )
    verb(
        "reproduce",
        _reproduce,
        _add_reproduce_arguments,
        "run all notebooks in order and write their pages",
        "python -m replication reproduce",
        "python -m replication reproduce --profile cpu --data-root DIR",
    )
    verb(
        "covering",
        covering.covering,
        covering.add_arguments,
        "simulate the random covering and compare it with E_n; exit with 1 if they differ",
        "python -m replication covering --volume 100 --draws 50 500",
        "python -m replication covering --geometry balls --dim 2 --volume 100",
    )
    verb(
        "train",
        training.train,
        training.add_train_arguments,
        "run one experiment and write its record",
        "python -m replication train --profile smoke --imbalance 10 --beta 0.999",
        "python -m replication train --profile cpu --data-root DIR --loss focal --gamma 1 --beta 0.9999",
    )
    verb(
        "sweep",
        training.sweep,
        training.add_sweep_arguments,
        "run a grid of experiments; those that have a record are skipped",
        "python -m replication sweep smoke --profile smoke",
        "python -m replication sweep heat-map --data-root DIR --seeds 0 1 2 --workers 4",
        usage="GRID [options]",
    )
    verb(
        "check-gpu",
        gpu.check,
        gpu.add_arguments,
        "check that a GPU computes correctly, and measure its speed (about a minute)",
        "python -m replication check-gpu --out check.json",
    )
    verb(
        "large-scale",
        large_scale.main,
        large_scale.add_arguments,
        "run one row of Table 3, alone or under torchrun",
        "python -m replication large-scale --dataset inat2018 --data-root DIR --loss focal --gamma 0.5 --beta 0.999",
        "torchrun --standalone --nproc-per-node 8 -m replication large-scale --dataset inat2018 --data-root DIR",
        usage="--dataset NAME --data-root DIR [options]",
    )
    verb(
        "pack",
        pack.main,
        pack.add_arguments,
        "write the training images of given runs, and the test set, to one small file",
        "python -m replication pack PACK --data-root DIR --dataset cifar10 --runs 50:1,2 100:0,1,2",
        usage="DEST --data-root DIR --runs FACTOR:SEEDS [...] [options]",
    )
    verb(
        "adopt",
        adopt.adopt,
        adopt.add_arguments,
        "copy records and checkpoints from another machine into the results",
        "python -m replication adopt out/records.jsonl",
        usage="FILE [options]",
    )
    verb(
        "report",
        _report,
        lambda sub: add_shared(sub, "--results"),
        "rebuild tables, figures, claims and results/README.md from the records",
        "python -m replication report",
    )
    return top


def _add_reproduce_arguments(parser) -> None:
    budget = "budget of the training runs (default: smoke)"
    parser.add_argument("--profile", choices=PROFILES, default="smoke", help=budget)
    add_shared(parser, "--results", "--data-root", "--device")


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
