"""A plan becomes jobs: submitted to Slurm, each after those it needs, or run here by submitit, one after the other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from submitit import LocalExecutor

from slurm import queue
from slurm.bad_nodes import leave_out
from slurm.cluster import VARIABLE, Cluster
from slurm.container import cache_folders
from slurm.job import SUBMITTER
from slurm.live import Live
from slurm.plan import JobSpec, Plan, lead_seconds
from slurm.script import environment, sbatch_text, task_command
from slurm.snapshot import take_snapshot
from slurm.submission import Submission, named, queue_ids, read_asked, read_submission, write_submission
from slurm.submitting import Place, find_again, submit_script
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment
from urbanvlm.lock import birth_of
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder, is_complete
from urbanvlm.same_inputs import Seen, note_inputs
from urbanvlm.stages import checkpoint_save_seconds, is_done, results_of

NO_LIMIT_MINUTES = 60 * 24 * 365
"""resources.timeout_minutes is what Slurm is told: here nobody waits for the machine"""


class JobFailed(Exception):
    """A job ended without its result. `str()` says which, why, and where its log is."""


def submit_to_slurm(plan: Plan, experiment: Experiment, run: RunFolder) -> Iterator[tuple[JobSpec, str]]:
    """Submit every job of the plan that is neither finished nor in the queue; yields each job and what became of it.

    The caller holds the run's lock. Raises UserError where Slurm refuses a job; those submitted before stay.
    """
    check_arrays([plan])
    snapshot = prepare(experiment, run)
    queued = in_queue((run, job.name) for job in plan.jobs if not is_done(run, experiment, job.stage))
    # Only now: what has left the queue meanwhile may have left its result.
    done = {job.name for job in plan.jobs if is_done(run, experiment, job.stage)}
    (plan,), left_out = leave_out([plan], [run])
    without = f" without {', '.join(left_out)}, found bad lately" if left_out else ""
    waiting: dict[str, str] = {}
    for job in plan.jobs:
        if job.name in done:
            yield job, "done"
            continue
        if before := queued.get((run, job.name)):
            waiting[job.name] = before.named
            yield job, f"in the queue as {before.submission.job_id} ({', '.join(sorted(before.states))})"
            continue
        script = write_script(plan, job, run, snapshot)
        dependency = ",".join(f"afterok:{waiting[name]}" for name in job.needs if name in waiting)
        elements = missing_elements(job, run, experiment)
        submission = Submission("", job.elements, None, plan.cluster.called, time.time())
        job_id = submit_script(
            script,
            {(run, job.name): submission},
            dependency=dependency or None,
            array=array_option(job, elements),
        )
        waiting[job.name] = named(job_id, elements)
        yield job, f"submitted as {job_id}{without}"


@dataclass(frozen=True)
class InQueue:
    """A job that Slurm has not done with, or some of whose elements it has not."""

    submission: Submission
    alive: Mapping[str, str]
    """id in the queue -> state"""

    @property
    def states(self) -> frozenset[str]:
        return frozenset(self.alive.values())

    @property
    def named(self) -> str:
        """What a dependency on it names: elements that have ended are not waited for."""
        return ":".join(self.alive)


def in_queue(jobs: Iterable[Place]) -> dict[Place, InQueue]:
    """Of some jobs those in the queue, when none is on its way out any more; the caller holds the runs' locks.

    One that Slurm took without our hearing of it is found by its script, and recorded. Raises UserError if Slurm does
    not answer, or a job does not get to its end.
    """
    places = list(jobs)
    known = {place: found for place in places if (found := read_submission(*place)) is not None}
    queued = _alive(known)
    # Of the others there may be one whose id never reached us, or one submitted by hand.
    others = {place: read_asked(*place) or known.get(place) for place in places if place not in queued}
    again = _alive(find_again({place: asked for place, asked in others.items() if asked is not None}))
    for place, job in again.items():
        write_submission(*place, job.submission)
    return queued | again


def _alive(submissions: Mapping[Place, Submission]) -> dict[Place, InQueue]:
    alive = queue.settled(queue_ids(submission) for submission in submissions.values())
    states = {
        place: {one: alive[one].state for one in queue_ids(submission) if one in alive}
        for place, submission in submissions.items()
    }
    return {place: InQueue(submissions[place], found) for place, found in states.items() if found}


def prepare(experiment: Experiment, run: RunFolder, seen: Seen | None = None) -> Path:
    """Write what jobs read, while holding the run's lock; returns the code's snapshot."""
    note_inputs(experiment, run, seen)
    run.write_experiment(experiment)
    return take_snapshot(run)


def write_script(plan: Plan, job: JobSpec, run: RunFolder, snapshot: Path) -> Path:
    """`jobs/<job>/job.sbatch`, which `sbatch` takes by hand as well."""
    save_seconds = checkpoint_save_seconds(run, job.stage.model) if job.stage.kind == "train" else None
    text = sbatch_text(plan, job, run, snapshot, lead_seconds(plan.cluster, job, save_seconds))
    script = run.jobs / job.name / "job.sbatch"
    script.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(script, text + "\n")
    return script


def planned_text(plan: Plan, job: JobSpec, run: RunFolder) -> str:
    """The batch script as submit would write it, but for the snapshot of the code, which nobody has taken yet."""
    return sbatch_text(plan, job, run, run.snapshots / "SNAPSHOT", lead_seconds(plan.cluster, job, None))


def expected_start(text: str) -> str | None:
    """When Slurm would start a script if it were submitted now; None where there is no Slurm."""
    if not queue.is_available():
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".sbatch", encoding="utf-8") as script:
        script.write(text)
        script.flush()
        return queue.expected_start(Path(script.name))


def check_arrays(plans: Sequence[Plan]) -> int | None:
    """How many elements Slurm allows an array, if it says so. Raises UserError where an evaluation has more shards."""
    most = queue.most_elements()
    for job in (job for plan in plans for job in plan.jobs):
        if most is not None and (job.elements or 0) > most:
            raise UserError(
                f"job {job.name}",
                f"is an array of {job.elements} elements, one a shard, and this Slurm allows {most} (MaxArraySize)",
                f"set evaluate.shards={most} or less; finished runs keep theirs",
            )
    return most


def check_not_queued(plan: Plan, run: RunFolder) -> None:
    """Raises UserError if jobs of the run are in Slurm's queue: they and this machine would both write it."""
    queued = in_queue((run, job.name) for job in plan.jobs) if queue.is_available() else {}
    for (_, name), job in queued.items():
        raise UserError(
            run.path,
            f"job {name} is in Slurm's queue as {job.submission.job_id}",
            f"wait for it, or make cancel RUN={run.id}",
        )


def missing_elements(job: JobSpec, run: RunFolder, experiment: Experiment) -> tuple[int, ...] | None:
    """The elements of an array that have work left; None of a job that is no array."""
    if job.elements is None:
        return None
    return tuple(k for k, result in enumerate(results_of(run, experiment, job.stage)) if not is_complete(result))


def array_option(job: JobSpec, elements: Sequence[int] | None) -> str | None:
    """sbatch's `--array` for some elements; None where the batch script says it already: for all of them."""
    if elements is None or len(elements) == job.elements:
        return None
    return f"{','.join(map(str, elements))}%{job.at_once}"


def run_here(plan: Plan, experiment: Experiment, run: RunFolder, live: Live) -> None:
    """Do every unfinished job of the plan on this machine, in order. Raises UserError or JobFailed."""
    snapshot = prepare(experiment, run)
    for job in plan.jobs:
        if is_done(run, experiment, job.stage):
            live.skipped(job)
            continue
        attempt = _new_attempt(run, job)
        with live.running(job):
            _run_one(plan, job, run, snapshot, attempt, live)
            if not is_done(run, experiment, job.stage):
                raise _failure(job, attempt)


def _run_one(plan: Plan, job: JobSpec, run: RunFolder, snapshot: Path, attempt: Path, live: Live) -> None:
    executor = LocalExecutor(attempt)
    executor.update_parameters(
        timeout_min=NO_LIMIT_MINUTES,
        tasks_per_node=job.tasks_per_node,
        gpus_per_node=job.gpus_per_node,
        visible_gpus=gpus_here() if job.gpus_per_node else (),
    )
    variables = environment(plan, job) | {
        SUBMITTER: f"{os.getpid()}:{birth_of(os.getpid())}",
        "URBANVLM_ATTEMPT": str(attempt),
        "URBANVLM_RENDEZVOUS": str(attempt / "rendezvous"),
    }
    with scratch(plan.cluster, attempt) as folders:
        with _environ(variables | folders), _ctrl_c_ignored():
            submitted = executor.submit(_job_of(task_command(plan, job, run, snapshot)))
        try:
            while not submitted.done():
                live.refresh(run, job)
                if list(attempt.glob("error-*")) or list(attempt.glob("crash-*")):
                    # One rank gave up; the others may wait for it in a collective.
                    break
        finally:
            _kill_tree(int(submitted.job_id))


@contextmanager
def scratch(cluster: Cluster, attempt: Path) -> Iterator[dict[str, str]]:
    """Variables of a job's folders, gone when the block ends: TMPDIR in `node_scratch`, caches of tasks in a container.

    Raises UserError where `node_scratch` is not here.
    """
    place, variables = attempt, {}
    if cluster.node_scratch is not None:
        place = Path(tempfile.mkdtemp(prefix="urbanvlm-", dir=_expanded(cluster.node_scratch)))
        variables["TMPDIR"] = str(place)
    try:
        yield variables | {name: str(place / folder) for name, folder in cache_folders(cluster).items()}
    finally:
        shutil.rmtree(attempt / "cache" if place == attempt else place, ignore_errors=True)


def _expanded(node_scratch: str) -> Path:
    folder = Path(VARIABLE.sub(lambda found: os.environ.get(found[1] or found[2], found[0]), node_scratch))
    if not folder.is_dir():
        raise UserError(f"node_scratch {folder}", "is not a folder of this machine", "make it, or change the profile")
    return folder


def check_gpus(plan: Plan) -> None:
    """Raises UserError where a job of a plan for this machine asks for more GPUs than it has."""
    wanted = max(job.gpus_per_node for job in plan.jobs)
    if wanted and len(found := gpus_here()) < wanted:
        raise UserError(
            "resources.gpus_per_process",
            f"the plan needs {wanted} GPUs, and this machine shows {len(found)}",
            "set resources.gpus_per_process=0 for the CPU, or fewer resources.processes",
        )


def gpus_here() -> tuple[int, ...]:
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
    listed = subprocess.run(
        ["nvidia-smi", "-L"], capture_output=True, encoding="utf-8", errors="replace", check=False
    ).stdout
    return tuple(range(sum(line.startswith("GPU ") for line in listed.splitlines())))


def _failure(job: JobSpec, attempt: Path) -> Exception:
    for error in sorted(attempt.glob("error-*")):
        return UserError(f"job {job.name}", error.read_text(encoding="utf-8", errors="replace").strip())
    for crash in sorted(attempt.glob("crash-*")):
        trace = crash.read_text(encoding="utf-8", errors="replace").strip()
        return JobFailed(
            f"{trace}\njob {job.name} failed, process {crash.name.removeprefix('crash-')}; logs: {attempt}"
        )
    said = _last_words(attempt)
    return JobFailed(f"{said}job {job.name} ended without its result and without an error (killed?); logs: {attempt}")


def _last_words(attempt: Path) -> str:
    """What a task that could not even begin said last: that of the container's runtime is the reason."""
    for log in sorted(attempt.glob("*_log.err")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        if lines:
            return f"{lines[-1]}\n"
    return ""


def _new_attempt(run: RunFolder, job: JobSpec) -> Path:
    """A folder per start: submitit names results by process number, which may come back."""
    folder = run.jobs / job.name
    folder.mkdir(parents=True, exist_ok=True)
    numbers = (p.name.removeprefix("attempt-") for p in folder.glob("attempt-*"))
    attempt = folder / f"attempt-{max((int(n) for n in numbers if n.isdigit()), default=0) + 1:03d}"
    attempt.mkdir()
    return attempt


def _job_of(command: list[str]) -> Callable[[], None]:
    """A function that becomes a command, in a process that submitit has told its rank.

    An inner function is pickled whole, while a module's would be found by its name in the folder that the task is
    started in: in the checkout, which somebody may be editing.
    """

    def run_command() -> None:
        import os
        import sys

        # Whoever is at the terminal speaks to the submitter alone, which then ends all in order.
        os.setpgrp()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execvp(command[0], command)  # noqa: S606 — a list of words, and no shell is meant

    return run_command


@contextmanager
def _environ(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        # Of this shell: they would be a place for the processes to meet at, before the file that is theirs.
        os.environ.pop(name, None)
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
