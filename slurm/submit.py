"""A plan becomes jobs through submitit: run here, one after the other, or rendered as sbatch text."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from submitit import LocalExecutor
from submitit.slurm.slurm import _make_sbatch_string

from slurm.job import SUBMITTER, run_job
from slurm.live import Live
from slurm.plan import JobSpec, Plan
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment
from urbanvlm.lock import birth_of
from urbanvlm.run_folder import RunFolder
from urbanvlm.stages import is_done

NO_LIMIT_MINUTES = 60 * 24 * 365
"""resources.timeout_minutes is what Slurm is told: here nobody waits for the machine"""


class JobFailed(Exception):
    """A job ended without its result. `str()` says which, why, and where its log is."""


def sbatch_text(plan: Plan, job: JobSpec, run: RunFolder) -> str:
    """The batch script of a job. Ids of needed jobs stand as `<name>`: they are known at submission."""
    cluster = plan.cluster
    folder = run.jobs / job.name
    with_gpus = job.gpus_per_task > 0
    setup = [*cluster.setup, *(f"export {k}={shlex.quote(v)}" for k, v in _environment(job, plan).items())]
    parameters: dict[str, Any] = {
        "job_name": f"{plan.run_id}/{job.name}",
        "partition": cluster.partition if with_gpus else cluster.cpu_partition or cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint if with_gpus else None,
        "nodes": job.nodes,
        "ntasks_per_node": job.tasks_per_node,
        "gpus_per_node": job.gpus_per_node or None,
        "cpus_per_task": job.cpus_per_task,
        "mem": f"{job.memory_gb}GB",
        "time": job.timeout_minutes,
        "signal_delay_s": cluster.signal_delay_seconds,
        "dependency": ",".join(f"afterok:<{name}>" for name in job.needs) or None,
        "setup": setup or None,
        "wckey": None,
    }
    command = shlex.join([sys.executable, "-u", "-m", "submitit.core._submit", str(folder)])
    return _make_sbatch_string(command=command, folder=folder, **parameters)


def run_here(plan: Plan, experiment: Experiment, run: RunFolder, live: Live) -> None:
    """Do every unfinished job of the plan on this machine, in order. Raises UserError or JobFailed."""
    for job in plan.jobs:
        if is_done(run, experiment, job.stage):
            live.skipped(job)
            continue
        attempt = _new_attempt(run, job)
        with live.running(job):
            _run_one(plan, job, run, attempt, live)
            if not is_done(run, experiment, job.stage):
                raise _failure(job, attempt)


def _run_one(plan: Plan, job: JobSpec, run: RunFolder, attempt: Path, live: Live) -> None:
    executor = LocalExecutor(attempt)
    executor.update_parameters(
        timeout_min=NO_LIMIT_MINUTES,
        tasks_per_node=job.tasks_per_node,
        gpus_per_node=job.gpus_per_node,
        visible_gpus=_gpus_here() if job.gpus_per_node else (),
    )
    me = f"{os.getpid()}:{birth_of(os.getpid())}"
    with _environ(_environment(job, plan) | {SUBMITTER: me}), _ctrl_c_ignored():
        submitted = executor.submit(run_job, str(run.path), job.stage, str(attempt))
    try:
        while not submitted.done():
            live.refresh(run, job)
            if list(attempt.glob("error-*")) or list(attempt.glob("crash-*")):
                # One rank gave up; the others may wait for it in a collective.
                break
    finally:
        _kill_tree(int(submitted.job_id))


def check_gpus(plan: Plan) -> None:
    """Raises UserError where a job of a plan for this machine asks for more GPUs than it has."""
    wanted = max(job.gpus_per_node for job in plan.jobs)
    if wanted and len(found := _gpus_here()) < wanted:
        raise UserError(
            "resources.gpus_per_process",
            f"the plan needs {wanted} GPUs, and this machine shows {len(found)}",
            "set resources.gpus_per_process=0 for the CPU, or fewer resources.processes",
        )


def _gpus_here() -> tuple[int, ...]:
    """Numbers of this machine's GPUs, less those that CUDA_VISIBLE_DEVICES hides."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        numbers = [name.strip() for name in visible.split(",") if name.strip()]
        if not all(name.isdigit() for name in numbers):
            raise UserError(
                f"CUDA_VISIBLE_DEVICES={visible}", "names GPUs in another way than by numbers", "use numbers"
            )
        return tuple(int(name) for name in numbers)
    if shutil.which("nvidia-smi") is None:
        return ()
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    return tuple(range(sum(line.startswith("GPU ") for line in listed.splitlines())))


def _failure(job: JobSpec, attempt: Path) -> Exception:
    for error in sorted(attempt.glob("error-*")):
        return UserError(f"job {job.name}", error.read_text(encoding="utf-8").strip())
    for crash in sorted(attempt.glob("crash-*")):
        trace = crash.read_text(encoding="utf-8").strip()
        return JobFailed(
            f"{trace}\njob {job.name} failed, process {crash.name.removeprefix('crash-')}; logs: {attempt}"
        )
    return JobFailed(f"job {job.name} ended without its result and without an error (killed?); logs: {attempt}")


def _new_attempt(run: RunFolder, job: JobSpec) -> Path:
    """A folder per start: submitit names results by process number, which may come back."""
    folder = run.jobs / job.name
    folder.mkdir(parents=True, exist_ok=True)
    numbers = (p.name.removeprefix("attempt-") for p in folder.glob("attempt-*"))
    attempt = folder / f"attempt-{max((int(n) for n in numbers if n.isdigit()), default=0) + 1:03d}"
    attempt.mkdir()
    return attempt


def _environment(job: JobSpec, plan: Plan) -> dict[str, str]:
    """Variables of a job's tasks. Not a copy of this shell's: no secret travels."""
    return {
        "OMP_NUM_THREADS": str(1 if job.stage.kind == "synthesize" else job.cpus_per_task),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        **plan.cluster.environment,
    }


@contextmanager
def _environ(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Children inherit an ignored signal, so Ctrl-C reaches this process alone, which then ends them in order."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _kill_tree(pid: int) -> None:
    """End a job's processes, children first found, whatever state they are in."""
    try:
        controller = psutil.Process(pid)
        processes = [controller, *controller.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=10)
