"""The verb `adopt`: copy records, checkpoints and test logits from another machine into the results."""

import re
from pathlib import Path

from replication.cli.options import add_shared, folder
from replication.experiments.journal import Adopted, adopt_records
from replication.files import check_writable


def add_arguments(parser) -> None:
    """Add the options of the verb to an argparse parser."""
    parser.add_argument(
        "journal",
        type=folder,
        metavar="FILE",
        help="the journal; checkpoints-<k>.tar and logits-<k>.tar beside it are taken too",
    )
    parser.add_argument("--commit", metavar="SHA", help="commit of the code that ran, for records that name none")
    add_shared(parser, "--results")


def adopt(args) -> int:
    """Copy records, checkpoints and test logits into the results; return 1 if a line or a file is unusable, else 0.

    Raises:
        ValueError: there is neither the journal nor an archive beside it, or the commit is not one.
    """
    if args.commit is not None and not re.fullmatch(r"[0-9a-f]{7,64}", args.commit):
        raise ValueError(f"commit must be 7 to 64 hexadecimal digits, as git gives them, got {args.commit!r}")
    packed = {kind: sorted(args.journal.parent.glob(f"{kind}-*.tar")) for kind in ("checkpoints", "logits")}
    if not args.journal.is_file() and (args.journal.exists() or not any(packed.values())):
        raise ValueError(f"journal must be a file that --journal wrote, got {str(args.journal)!r}")
    check_writable(args.results)
    done = adopt_records(args.journal, args.results, args.commit) if args.journal.is_file() else Adopted()
    for sentence in done.different:
        print(f"kept what is there: {sentence}")
    print(f"records: {len(done.added)} added, {len(done.kept)} there already, {done.refused} lines that are none")
    refused = _unpack(packed, args.results) if any(packed.values()) else 0
    return 1 if done.refused or refused else 0


def _unpack(packed: dict[str, list[Path]], results: Path) -> int:
    """Unpack the archives; return how many files cannot be used."""
    from replication.training.archives import unpack  # needs torch: only if there are any

    refused = 0
    for kind, archives in packed.items():
        if archives:
            taken, bad = unpack(archives, results)
            print(f"{kind}: {len(taken)} taken, {bad} that cannot be used")
            refused += bad
    return refused
