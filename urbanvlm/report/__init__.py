"""The report of a run: tables of scores, plots, and a page that shows what is behind the numbers."""

from urbanvlm.report.tables import is_partial, terminal_table
from urbanvlm.run_folder import RunFolder

__all__ = ["is_partial", "make_report", "terminal_table"]


def make_report(run: RunFolder) -> None:
    """See `urbanvlm.report.page.make_report`; matplotlib is imported only when a report is written."""
    from urbanvlm.report.page import make_report as make

    make(run)
