"""What all tests share: an environment as `make` gives it, and no silent skips in CI."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from image_support import apptainer_image, podman_image, workshop  # noqa: F401 - fixtures
from second_try import pytest_runtest_protocol, pytest_terminal_summary  # noqa: F401 - hooks
from slurm_support import slurm_accounting, slurm_cluster, slurm_clusters, slurm_network  # noqa: F401 - fixtures

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# With it, every process of the tests compiles torch anew: 25 s instead of 8.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A suite that a shell started in the background inherits a SIGINT that is ignored, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# A slow machine is not a bug, and a failure must be the same on every machine.
settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("house")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _fail_if_missing((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _fail_if_missing((yield))


def _fail_if_missing(report: Report) -> Report:
    """In CI, a skip for want of a component, `pytest.skip("missing: …")`, is a failure."""
    if os.environ.get("CI") and report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        path, line, reason = report.longrepr
        if str(reason).startswith("Skipped: missing:"):
            report.outcome = "failed"
            report.longrepr = f"{path}:{line}: {reason}; in CI everything must be there"
    return report
