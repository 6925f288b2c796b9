"""The generated parts of README.md, taken from results/README.md: first answers, first figure, table on beta."""

import itertools
import re
from pathlib import Path

from replication.files import write_text

ANSWERS = 5  # rows on the first screen of README.md; results/README.md has them all
COLUMNS = {"answers": "| answer |", "betas": "| largest class |"}  # marker: a column that only this table has


def write_readme(results: Path) -> list[Path]:
    """Fill the marked parts of the README.md beside the results; return its path if there is one with such parts."""
    path = results.parent / "README.md"
    page = results / "README.md"
    if not path.is_file() or not page.is_file() or "<!-- answers" not in (text := path.read_text()):
        return []
    return [write_text(path, filled(text, page.read_text(), f"{results.name}/"))]


def filled(text: str, page: str, prefix: str) -> str:
    """Return `text` with each marked part taken from `page`, and its links made relative to the folder above.

    Raises:
        ValueError: the page has no such table.

    >>> page = "| question | answer |\\n| --- | --- |\\n| [a](x.md) | yes |\\n\\n![c](d.png)\\n"
    >>> print(filled("<!-- answers -->\\n<!-- /answers -->", page, "results/"))
    <!-- answers -->
    | question | answer |
    | --- | --- |
    | [a](results/x.md) | yes |
    <BLANKLINE>
    ![c](results/d.png)
    <!-- /answers -->
    """
    for name in (name for name in COLUMNS if f"<!-- {name}" in text):
        part = _table(page, COLUMNS[name], 2 + ANSWERS if name == "answers" else None)
        if name == "answers" and (image := re.search(r"^!\[.*\]\(.*\)$", page, re.MULTILINE)):
            part += f"\n\n{image[0]}"
        part = re.sub(r"\]\((?!\w+:)", f"]({prefix}", part)
        before, rest = text.split(f"<!-- {name} -->\n", 1)
        text = f"{before}<!-- {name} -->\n{part}\n<!-- /{name} -->{rest.split(f'<!-- /{name} -->', 1)[1]}"
    return text


def _table(page: str, column: str, lines: int | None) -> str:
    """The first `lines` lines of the Markdown table that has this column."""
    rows = page.splitlines()
    start = next((k for k, row in enumerate(rows) if column in row), None)
    if start is None:
        raise ValueError(f"page must hold a table with the column {column.strip('| ')!r}")
    table = itertools.takewhile(lambda row: row.startswith("|"), rows[start:])
    return "\n".join(list(table)[:lines])
