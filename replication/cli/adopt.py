"""The verb `adopt`: what a borrowed machine brought home, into the folder of results."""

import re

from replication.cli.options import folder
from replication.experiments.journal import Adopted, adopt_records
from replication.files import check_writable


def add_arguments(parser) -> None:
    """The options of the verb beside --results, on an argparse parser."""
    parser.add_argument(
        "journal", type=folder, metavar="FILE", help="the journal; checkpoints-<k>.tar beside it are taken too"
    )
    parser.add_argument("--commit", metavar="SHA", help="commit of the code that ran, for records that name none")


def adopt(args) -> int:
    """Bring records and checkpoints into results; 0, or 1 where a line or a checkpoint could not be used.

    Raises:
        ValueError: no such journal and no checkpoints beside it, or a commit that is not one.
    """
    if args.commit is not None and not re.fullmatch(r"[0-9a-f]{7,64}", args.commit):
        raise ValueError(f"commit must be 7 to 64 hexadecimal digits, as git gives them, got {args.commit!r}")
    packed = sorted(args.journal.parent.glob("checkpoints-*.tar"))
    if not args.journal.is_file() and (args.journal.exists() or not packed):
        raise ValueError(f"journal must be a file that --journal wrote, got {str(args.journal)!r}")
    check_writable(args.results)
    done = adopt_records(args.journal, args.results, args.commit) if args.journal.is_file() else Adopted()
    for sentence in done.different:
        print(f"kept what is there: {sentence}")
    print(f"records: {len(done.added)} added, {len(done.kept)} there already, {done.refused} lines that are none")
    if not packed:
        return 1 if done.refused else 0
    from replication.training.checkpoint import unpack_checkpoints  # needs torch: only where there are any

    taken, refused = unpack_checkpoints(packed, args.results)
    print(f"checkpoints: {len(taken)} taken, {refused} that cannot be used")
    return 1 if done.refused or refused else 0
