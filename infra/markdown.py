"""Markdown tables."""

from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table.

    Args:
        heads: one for each column.
        rows: the cells of each row.
        left: the number of columns that are aligned to the left; the others are aligned to the right.
    """
    rule = ["---" if column < left else "---:" for column in range(len(heads))]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in (heads, rule, *rows))
