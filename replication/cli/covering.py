"""The verb `covering`: simulate the random covering and compare it with E_n."""

from replication.files import check_writable


def _covering(args) -> int:
    if args.seed < 0:
        raise ValueError(f"seed must be a whole number >= 0, got {args.seed}")
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
        args.dim = 1 if args.dim is None else args.dim
        return main(args)
    from replication.report.covering import run

    if args.data_root and not args.data_root.is_dir():
        raise ValueError(f"data-root must be a folder that exists, got {str(args.data_root)!r}")
    check_writable(args.results)
    verdict = run(args.results, full=True, data_root=args.data_root, seed=args.seed)
    print(f"{verdict.message}; written to {args.results / 'covering'}")
    return 0 if verdict.passed else 1


def main(options) -> int:
    """Run `python -m replication covering`: print the table and the verdict; return 0 if the check passed, else 1.

    Args:
        options: volume and draws (lists or None), replicates (int or None), geometry, dim and seed.  For prototypes
            without volume, draws and replicates, a quick set of simulations is run.
    """
    import pandas as pd

    from replication.theory.covering import QUICK, battery, check, verify

    if options.geometry == "prototypes" and options.volume is options.draws is options.replicates is None:
        frame = battery(QUICK, options.seed)
    else:
        volumes, replicates = options.volume or [100], 1000 if options.replicates is None else options.replicates
        tables = [verify(options.geometry, options.dim, v, options.draws, replicates, options.seed) for v in volumes]
        frame = pd.concat(tables, ignore_index=True)
    print(frame.to_string(index=False, float_format=lambda v: f"{v:.6g}"))
    verdict = check(frame)
    print(verdict.message)
    return 0 if verdict.passed else 1
