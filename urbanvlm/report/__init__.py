"""The report of a run: one table of scores, plots, and a page that says how the numbers were made."""

from collections.abc import Sequence

from urbanvlm.records import Score
from urbanvlm.report.tables import is_partial, terminal_table
from urbanvlm.run_folder import RunFolder

__all__ = ["is_partial", "terminal_table", "write_report"]


def write_report(run: RunFolder, rows: Sequence[Score]) -> None:
    """See `urbanvlm.report.page.write_report`; matplotlib is imported only when a report is written."""
    from urbanvlm.report.page import write_report as write

    write(run, rows)
