"""The callable inside a job: it opens the run folder and does one stage. torch is imported late, by the stage."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from pathlib import Path

from urbanvlm.errors import UserError
from urbanvlm.lock import process_alive
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder
from urbanvlm.stages import Process, Stage, run_stage

SUBMITTER = "URBANVLM_SUBMITTER"
"""`<pid>:<birth>` of a submitter that stays: local jobs end with it."""


def run_job(run_path: str, stage: Stage, attempt_path: str) -> None:
    """Do one stage's share of this task. Exits with code 2 after a user's mistake, which stands in `error-<rank>`.

    A bug leaves its traceback in `crash-<rank>`.
    """
    from submitit import JobEnvironment

    _end_with_submitter()
    environment = JobEnvironment()
    process = Process(environment.global_rank, environment.local_rank, environment.num_tasks)
    if environment.cluster == "local":
        os.environ["URBANVLM_RENDEZVOUS"] = str(Path(attempt_path) / "rendezvous")
    try:
        run_stage(RunFolder(Path(run_path)), stage, process)
    except UserError as error:
        write_atomic(Path(attempt_path) / f"error-{process.rank}", f"{error}\n")
        raise SystemExit(2) from None
    except Exception:
        # The other ranks may wait for this one in a collective: the submitter ends them when it sees this.
        write_atomic(Path(attempt_path) / f"crash-{process.rank}", traceback.format_exc())
        raise


def _end_with_submitter() -> None:
    """A local job must not outlive the command that shows it: the next one would meet a writer it cannot see."""
    if SUBMITTER not in os.environ:
        return
    pid, _, born = os.environ[SUBMITTER].partition(":")

    def watch() -> None:
        while process_alive(int(pid), born):
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    # A group of its own, so that the workers a stage starts end as well.
    os.setpgrp()
    threading.Thread(target=watch, daemon=True).start()
