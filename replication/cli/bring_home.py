"""Pack checkpoints and test logits beside the journal, for the way back from another machine."""

from replication.experiments.experiment import Experiment
from replication.experiments.journal import read_journal
from replication.experiments.records import record_path


def bring_home(experiments: list[Experiment], options) -> None:
    """If there is a journal, pack checkpoints and test logits beside it."""
    journal = options.journal
    if journal is None:
        return
    from replication.training.archives import pack_checkpoints, pack_logits
    from replication.training.one_run import start_path

    left = [e for e in experiments if not record_path(e, options.runs(e)).exists()]
    starts = [path for path in (start_path(e, options) for e in left) if path]
    names = [record.experiment.name for record in read_journal(journal)] if journal.is_file() else []
    packed = {
        "checkpoints": pack_checkpoints(options.results, journal.parent, starts),
        "test logits": pack_logits(options.results, journal.parent, names),
    }
    for kind, (archives, left_out) in packed.items():
        if archives or left_out:
            print(f"{len(archives)} archives of {kind} in {journal.parent}; {len(left_out)} files did not fit")
