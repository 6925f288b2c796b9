"""Pack checkpoints and test logits beside the journal, for the way back from another machine."""

import contextlib
from collections.abc import Iterator

from replication.experiments.experiment import Experiment
from replication.experiments.records import record_path


@contextlib.contextmanager
def brought_home(experiments: list[Experiment], options) -> Iterator[None]:
    """If there is a journal, pack checkpoints and test logits beside it, however the runs end."""
    try:
        yield
    finally:
        if options.journal:
            _pack(experiments, options)


def _pack(experiments: list[Experiment], options) -> None:
    from replication.experiments.journal import read_journal
    from replication.training.archives import pack_checkpoints, pack_logits
    from replication.training.one_run import start_path

    out, journal = options.journal.parent, options.journal
    left = [e for e in experiments if not record_path(e, options.runs(e)).exists()]
    starts = [path for path in (start_path(e, options) for e in left) if path]
    names = [record.experiment.name for record in read_journal(journal)] if journal.is_file() else []
    packed = {
        "checkpoints": pack_checkpoints(options.results, out, starts),
        "test logits": pack_logits(options.results, out, names),
    }
    for kind, (archives, left_out) in packed.items():
        if archives or left_out:
            print(f"{len(archives)} archives of {kind} in {out}; {len(left_out)} files did not fit")
