"""The generated parts of README.md, those that results/README.md marks: answers, first figure, table on beta."""

import re
from pathlib import Path

from replication.files import write_text

PART = re.compile(r"<!--(?P<name>\w+)-->\n.*?<!--/(?P=name)-->", re.DOTALL)


def write_readme(results: Path) -> list[Path]:
    """Fill the marked parts of the README.md beside the results; return its path if it has any."""
    path, page = results.parent / "README.md", results / "README.md"
    if not path.is_file() or not page.is_file() or not PART.search(text := path.read_text(encoding="utf-8")):
        return []
    return [write_text(path, filled(text, page.read_text(encoding="utf-8"), f"{results.name}/"))]


def filled(text: str, page: str, prefix: str) -> str:
    """Return `text` with each marked part taken from `page`, and its links made relative to the folder above.

    >>> print(filled("Ours: <!--a-->\\nold<!--/a-->", "Theirs: <!--a-->\\n[new](b.md)<!--/a-->", "results/"))
    Ours: <!--a-->
    [new](results/b.md)<!--/a-->
    """
    parts = {part["name"]: re.sub(r"\]\((?!\w+:)", f"]({prefix}", part[0]) for part in PART.finditer(page)}
    return PART.sub(lambda part: parts.get(part["name"], part[0]), text)
