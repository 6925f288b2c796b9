"""The verb `pack`: write the images that given runs need to one file, small enough to be sent to another machine."""

from replication.cli.options import add_shared, folder
from replication.files import check_writable

DATASETS = ("cifar10", "cifar20", "cifar100", "fashion_mnist")


def add_arguments(parser) -> None:
    """Add the arguments of `pack` to an argparse parser."""
    add = parser.add_argument
    add("dest", type=folder, metavar="DEST", help="the folder for the pack; pass it to later runs as --data-root")
    add_shared(parser, "--data-root", required=True)
    add(
        "--dataset",
        nargs="+",
        choices=DATASETS,
        metavar="NAME",
        default=["cifar10"],
        help=f"one of {', '.join(DATASETS)}; or both cifar100 and cifar20, which share a pack (default: cifar10)",
    )
    add(
        "--runs",
        required=True,
        nargs="+",
        metavar="FACTOR:SEEDS",
        help="imbalance factors with the seeds of each, such as 50:1,2 100:0; larger factors are included",
    )
    add("--max-mib", type=float, default=64.0, metavar="M", help="refuse to write a larger pack (default: 64)")


def main(args) -> int:
    """Write the pack, print its size and return 0."""
    from replication.data.pack import pack_path, runs_label, write_pack
    from replication.data.sources import load

    runs = [pair for text in args.runs for pair in _pairs(text)]
    paths = {pack_path(args.dest, dataset) for dataset in args.dataset}
    if len(paths) > 1:
        raise ValueError(f"dataset must be one, or cifar100 and cifar20, got {', '.join(args.dataset)}")
    if not args.max_mib > 0:
        raise ValueError(f"max-mib must be a number > 0, got {args.max_mib:g}")
    check_writable(args.dest)
    (path,) = paths
    sets = {dataset: load(dataset, args.data_root) for dataset in args.dataset}
    train_images = write_pack(path, sets, runs, args.max_mib * 2**20)
    size, (_, test) = path.stat().st_size / 2**20, next(iter(sets.values()))
    print(f"{path}: {size:.1f} MiB, {train_images} training and {len(test)} test images, runs {runs_label(runs)}")
    return 0


def _pairs(text: str) -> list[tuple[float, int]]:
    factor, _, seeds = text.partition(":")
    try:
        return [(float(factor), int(seed)) for seed in seeds.split(",")]
    except ValueError:
        raise ValueError(f"runs must be imbalance factors with their seeds, such as 50:1,2, got {text!r}") from None
