"""A plugin of pytest that tries a failing test once more, if it runs processes, and says so loudly.

Tests of processes, daemons and containers can fail for reasons of the machine. One such failure among thousands of
passed tests says little of the code, but it is a bug of the test or of the code all the same: so the end of the output
lists every test that passed at its second try only, with its first failure. A test that runs no process is never tried
again, because nothing of it may depend on chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from _pytest.runner import call_and_report, show_test_item

_MARKS = ("slurm", "container", "processes")
_MODULES = ("subprocess", "multiprocessing", "psutil", "signal", "threading")
_is_second = pytest.StashKey[bool]()
_first_failures = pytest.StashKey[list[tuple[str, bool, Sequence[pytest.TestReport]]]]()


def runs_processes(item: pytest.Item) -> bool:
    """Whether a test may be tried again: its marks say so, or its module imports what starts processes."""
    module = item.getparent(pytest.Module)
    imported = vars(module.obj) if module is not None else {}
    return any(item.get_closest_marker(mark) for mark in _MARKS) or any(name in imported for name in _MODULES)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> object | None:
    if not runs_processes(item) or item.stash.get(_is_second, False):
        return None
    reports = _try(item, nextitem)
    failed = [report for report in reports if report.failed]
    if not failed:
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True
    failures_before = item.session.testsfailed
    item.stash[_is_second] = True
    # Through the hook, not directly: so pytest-timeout gives the second try a time of its own.
    item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    passed = item.session.testsfailed == failures_before
    item.config.stash.setdefault(_first_failures, []).append((item.nodeid, passed, failed))
    return True


def _try(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """Run a test without a word of it. After a failure all its fixtures end, the session's too: none is used again."""
    reports = [call_and_report(item, "setup", log=False)]
    if reports[0].passed:
        if item.config.getoption("setupshow", False):
            show_test_item(item)
        if not item.config.getoption("setuponly", False):
            reports.append(call_and_report(item, "call", log=False))
    ends = item.session.shouldfail or item.session.shouldstop or any(report.failed for report in reports)
    reports.append(call_and_report(item, "teardown", log=False, nextitem=None if ends else nextitem))
    item._request = False  # type: ignore[attr-defined]
    item.funcargs = None  # type: ignore[attr-defined]
    return reports


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for nodeid, passed, failed in config.stash.get(_first_failures, []):
        title = "PASSED AT THE SECOND TRY ONLY, a bug to be mended" if passed else "FAILED TWICE"
        terminalreporter.section(f"{title}: {nodeid}", sep="!", red=True)
        for report in failed:
            terminalreporter.line(f"its first failure, in {report.when}:")
            terminalreporter.line(report.longreprtext)
            for name, text in report.sections:
                terminalreporter.line(f"-- {name} --\n{text[-4000:]}")
