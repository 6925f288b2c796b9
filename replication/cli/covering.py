"""The verb `covering`: simulate the random covering and compare it with E_n."""

from replication.cli.options import add_shared, check_least
from replication.files import check_writable


def add_arguments(parser) -> None:
    """Add the options of the verb to an argparse parser."""
    add = parser.add_argument
    add("--volume", type=float, nargs="+", metavar="N", help="volume of the space, >= 1 (default: several)")
    add("--draws", type=int, nargs="+", metavar="n", help="samples drawn, >= 0")
    add("--replicates", type=int, metavar="R", help="independent repetitions, >= 2")
    add(
        "--geometry",
        choices=("prototypes", "cubes", "balls"),
        default="prototypes",
        help="shape of the samples (default: prototypes)",
    )
    add("--dim", type=int, metavar="d", help="dimension of cubes and balls, 1 to 6 (default: 1)")
    add("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    add(
        "--full",
        action="store_true",
        help="run all simulations of the report (minutes) and write RESULTS/covering/*.csv and figures",
    )
    add_shared(parser, "--results", "--data-root")


def covering(args) -> int:
    """Run the whole battery of the report with --full, else what `main` runs; return 0 if the check passed, else 1."""
    check_least(args, seed=0)
    if not args.full:
        if args.data_root:
            raise ValueError("data-root must go with full: only the near-duplicates of the whole battery read images")
        return main(args)
    one = (args.volume, args.draws, args.replicates, args.dim)
    if any(value is not None for value in one) or args.geometry != "prototypes":
        raise ValueError(
            "full must stand without volume, draws, replicates, geometry and dim: it runs the whole battery"
        )
    from replication.experiments.covering import run
    from replication.report.figures.covering import drawings
    from replication.report.figures.style import draw_all

    if args.data_root and not args.data_root.is_dir():
        raise ValueError(f"data-root must be a folder that exists, got {str(args.data_root)!r}")
    check_writable(args.results)
    verdict = run(args.results, full=True, data_root=args.data_root, seed=args.seed)
    draw_all(drawings(args.results / "covering"))
    print(f"{verdict.message}; written to {args.results / 'covering'}")
    return 0 if verdict.passed else 1


def main(options) -> int:
    """Print the table of some simulations and the verdict; return 0 if the check passed, else 1.

    Args:
        options: volume and draws (lists or None), replicates and dim (int or None), geometry and seed.  For prototypes
            without volume, draws and replicates, a quick set of simulations is run.
    """
    if options.dim is not None and options.geometry == "prototypes":
        raise ValueError("dim must go with geometry cubes or balls: prototypes have none")
    import pandas as pd

    from replication.theory.covering import QUICK, battery, check, verify

    if options.geometry == "prototypes" and options.volume is options.draws is options.replicates is None:
        frame = battery(QUICK, options.seed)
    else:
        volumes, dim = options.volume or [100], 1 if options.dim is None else options.dim
        replicates = 1000 if options.replicates is None else options.replicates
        tables = [verify(options.geometry, dim, v, options.draws, replicates, options.seed) for v in volumes]
        frame = pd.concat(tables, ignore_index=True)
    print(frame.to_string(index=False, float_format=lambda v: f"{v:.6g}"))
    verdict = check(frame)
    print(verdict.message)
    return 0 if verdict.passed else 1
