"""The verb `weights`: show what each beta does to the weights of given class counts."""

from replication.theory.describe import describe_weights

BETAS = (0.9, 0.99, 0.999, 0.9999)  # the paper's


def add_arguments(parser) -> None:
    """Add the options of the verb to an argparse parser."""
    parser.add_argument("counts", type=float, nargs="+", metavar="COUNT", help="training samples of each class, > 0")
    parser.add_argument(
        "--beta", type=float, nargs="+", default=BETAS, help="values in [0, 1] (default: 0.9 0.99 0.999 0.9999)"
    )


def main(args) -> int:
    """Print one line for each beta and return 0."""
    rows = describe_weights(args.counts, args.beta)
    imbalance = max(args.counts) / min(args.counts)
    print(
        f"{len(args.counts)} classes of {min(args.counts):g} to {max(args.counts):g} samples: imbalance {imbalance:g}"
    )
    print(f"{'beta':>9}  {'effective number':>19}  {'weight ratio':>12}  {'mean loss weight':>16}  remark")
    for row in rows:
        numbers = f"{row.smallest:.4g} to {row.largest:.4g}"
        line = f"{row.beta:>9g}  {numbers:>19}  {row.weight_ratio:>12.4g}  {row.mean_weight:>16.4g}  {row.remark}"
        print(line.rstrip())
    print("weight ratio: rarest class over largest. mean loss weight: with reduction='mean', loss and gradient are")
    print("about this many times those of the unweighted loss.")
    return 0
