"""What `status`, `logs`, `cancel` and `requeue` say and do, from run folders as jobs leave them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from slurm_support import DevCluster

from slurm.__main__ import main
from slurm.attempts import attempts_of, newest_logs
from slurm.queue import EndedJob, QueuedJob
from slurm.status import JobStatus, Queue, RunStatus, job_statuses, record_of
from slurm.submission import Submission, read_submission, write_submission
from slurm.table import jobs_table, runs_table
from urbanvlm.errors import UserError
from urbanvlm.experiment import load_experiment
from urbanvlm.lock import hold
from urbanvlm.run_folder import RunFolder, mark_complete
from urbanvlm.runs import find_run, find_runs, find_runs_of, outputs, remember_output
from urbanvlm.stages import results_of, stages_of

ROOT = Path(__file__).parent.parent
NOW = 1_700_000_000.0
JOBS = ("synthesize", "evaluate-llava-before", "train-llava", "evaluate-llava-after", "report")
SYNTHESIZE, BEFORE, TRAIN, AFTER, REPORT = JOBS


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Five jobs, evaluation in three shards."""
    models = 'models=[{"family": "llava"}]'
    overrides = [f"output={tmp_path}", models, "evaluate.shards=3", "name=some"]
    experiment = load_experiment(ROOT / "experiments" / "demo.yaml", overrides)
    run = RunFolder.of(experiment)
    run.create()
    run.write_experiment(experiment)
    assert tuple(stage.name for stage in stages_of(experiment)) == JOBS
    return run


def finish(run: RunFolder, *jobs: str) -> None:
    for stage in stages_of(run.experiment):
        if stage.name in jobs:
            for result in results_of(run, run.experiment, stage):
                finish_part(result)


def finish_part(result: Path) -> None:
    result.parent.mkdir(parents=True, exist_ok=True)
    if result.suffix:
        result.touch()
    else:
        result.mkdir(exist_ok=True)
    mark_complete(result)


def submit(run: RunFolder, job: str, job_id: str, elements: int | None = None, submitted: float = NOW - 1000) -> None:
    write_submission(run, job, Submission(job_id, elements, None, "alpha", submitted))


def attempt(run: RunFolder, job: str, name: str, *, age: float = 100, **files: str) -> Path:
    """A start of a job, that long ago. In names of files `_` stands for what Python has no word for."""
    folder = run.jobs / job / f"attempt-{name}"
    folder.mkdir(parents=True)
    for file, text in {"log_0.txt": "", **files}.items():
        (folder / file.replace("_", "-")).write_text(text)
    for path in (*folder.iterdir(), folder):
        os.utime(path, (NOW - age, NOW - age))
    return folder


def progress(
    run: RunFolder, job: str, done: int, total: int, *, part: int = 0, age: float = 1, **figures: float
) -> None:
    file = run.progress_file(job, part)
    file.parent.mkdir(exist_ok=True)
    unit = "examples" if job.startswith("evaluate") else "steps"
    row = {"done": done, "total": total, "unit": unit, "rate": 2.0, "seconds_left": (total - done) / 2}
    file.write_text(json.dumps({**row, "figures": figures, "updated": NOW - age}))
    os.utime(file, (NOW - age, NOW - age))


def running(job_id: str, *, restarts: int = 0, nodes: str = "gpu01") -> QueuedJob:
    return QueuedJob(job_id, "RUNNING", "", restarts, NOW - 100, NOW + 3500, nodes)


def waiting(job_id: str, reason: str = "Dependency", *, restarts: int = 0, start: float | None = None) -> QueuedJob:
    return QueuedJob(job_id, "PENDING", reason, restarts, start, None, "")


def queue_of(*jobs: QueuedJob | EndedJob, problem: str = "") -> Queue:
    return Queue(
        {job.job_id: job for job in jobs if isinstance(job, QueuedJob)},
        {job.job_id: job for job in jobs if isinstance(job, EndedJob)},
        problem,
    )


def status(run: RunFolder, queue: Queue | None = None) -> dict[str, JobStatus]:
    records = [record_of(run, stage) for stage in stages_of(run.experiment)]
    return {job.stage: job for job in job_statuses(run, records, queue or queue_of(), NOW)}


def states(run: RunFolder, queue: Queue | None = None) -> list[str]:
    return [job.state for job in status(run, queue).values()]


def shown(statuses: dict[str, JobStatus], run: RunFolder, width: int = 160) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(runs_table([RunStatus(run, tuple(statuses.values()))], width))
    return capture.get()


# ---- on Slurm -------------------------------------------------------------------------------------------------------


def test_a_run_on_slurm_from_submission_to_its_end(run: RunFolder) -> None:
    for number, job in enumerate(JOBS):
        submit(run, job, str(10 + number), 3 if job.startswith("evaluate") else None)
    afters = [waiting(f"{n}_{k}") for n in (11, 13) for k in range(3)] + [waiting("12"), waiting("14")]
    found = status(run, queue_of(waiting("10", "Priority", start=NOW + 60), *afters))
    assert {job.state for job in found.values()} == {"waiting"}
    assert (found[SYNTHESIZE].note, found[SYNTHESIZE].expected_start) == ("other jobs come first", NOW + 60)
    assert "expected to start" in shown(found, run) and TRAIN not in shown(found, run), "what waits for it is no news"

    finish(run, SYNTHESIZE)
    finish_part(results_of(run, run.experiment, stages_of(run.experiment)[1])[0])
    attempt(run, TRAIN, "12-0")
    progress(run, TRAIN, 120, 300, loss=1.25)
    attempt(run, BEFORE, "11_0-0", exit="0")
    attempt(run, BEFORE, "11_1-0")
    progress(run, BEFORE, 40, 40, part=0)
    progress(run, BEFORE, 10, 40, part=1)
    slurm = queue_of(running("11_1"), waiting("11_2", "JobArrayTaskLimit"), running("12"), *afters[3:6], afters[7])
    found = status(run, slurm)
    assert [job.state for job in found.values()] == ["finished", "running", "running", "waiting", "waiting"]
    assert found[BEFORE].shards == "1/3 shards done, 1 running, 1 waiting"
    both = found[BEFORE].progress
    assert both is not None and (both.done, both.total, both.rate) == (50, 80, 2.0), "a finished shard has no rate"
    text = shown(found, run)
    assert "1/5" in text and "120/300 steps  loss 1.25  2 steps/s  1 min 30 s left" in text
    assert text.count("running") == 3, "two jobs and a shard"

    finish(run, *JOBS)
    assert set(states(run)) == {"finished"}
    assert "5/5" in shown(status(run), run)


def test_a_requeued_job_shows_no_rate_of_the_start_before(run: RunFolder) -> None:
    finish(run, SYNTHESIZE, BEFORE)
    submit(run, TRAIN, "12")
    attempt(run, TRAIN, "12-0", exit="75", requeue="told to stop (SIGUSR2)")
    progress(run, TRAIN, 120, 300, age=90)
    found = status(run, queue_of(waiting("12", "BeginTime", restarts=1)))[TRAIN]
    assert (found.state, found.restarts, found.note) == ("requeued", 1, "Slurm starts it again a little later")
    assert found.progress is not None and (found.progress.done, found.progress.rate) == (120, 0)
    # Started again, and its folder or its first progress is not there yet.
    again = queue_of(running("12", restarts=1))
    for _ in range(2):
        found = status(run, again)[TRAIN]
        assert found.state == "running" and found.progress is not None and found.progress.seconds_left is None
        if not (run.jobs / TRAIN / "attempt-12-1").exists():
            attempt(run, TRAIN, "12-1", age=50)
    progress(run, TRAIN, 130, 300)
    found = status(run, again)[TRAIN]
    assert found.progress is not None and found.progress.rate == 2.0
    assert (found.attempts, found.restarts) == (2, 1)
    assert "requeued 1 time" in shown({TRAIN: found}, run)


@pytest.mark.parametrize(
    ("files", "ended", "reason"),
    [
        ({"error_0": "a.yaml: x: wrong\n", "exit": "2"}, "FAILED", "a.yaml: x: wrong"),
        ({"crash_1": "Traceback\n  File x\nValueError: bad\n", "exit": "1"}, "FAILED", "ValueError: bad"),
        (
            {"crash_0": "T\nRuntimeError: Connection closed by peer", "crash_1": "T\nKeyError: 'x'", "exit": "1"},
            "FAILED",
            "KeyError: 'x'",
        ),
        ({"exit": "137"}, "FAILED", "killed by signal 9 (out of memory?)"),
        (
            {"crash_0": "T\nRuntimeError: [gloo] Connection closed by peer", "exit": "137"},
            "FAILED",
            "killed by signal 9 (out of memory?)",
        ),
        # srun kills the others when one has crashed.
        ({"crash_0": "T\nZeroDivisionError: x", "exit": "137"}, "FAILED", "ZeroDivisionError: x"),
        ({"crash_0": "T\nRuntimeError: x", "exit": "137"}, "OUT_OF_MEMORY", "OUT_OF_MEMORY"),
        ({"exit": "139"}, "FAILED", "killed by signal 11 (Segmentation fault)"),
        ({}, "TIMEOUT", "TIMEOUT"),
        ({}, "NODE_FAIL", "NODE_FAIL: its node failed"),
        (
            {"exit": "75", "requeue": "time limit near"},
            "FAILED",
            "saved and asked to be started again (time limit near)",
        ),
        ({"exit": "3"}, "FAILED", "exit code 3"),
        ({"exit": "0"}, "COMPLETED", "ended without its result"),
    ],
)
def test_why_a_job_failed(run: RunFolder, files: dict[str, str], ended: str, reason: str) -> None:
    finish(run, SYNTHESIZE, BEFORE)
    for number, job in enumerate((TRAIN, AFTER, REPORT)):
        submit(run, job, str(12 + number), 3 if job == AFTER else None)
    attempt(run, TRAIN, "12-0", **files)
    gone = [EndedJob(one, "CANCELLED", 0, 0, "DependencyNeverSatisfied") for one in ("13_0", "13_1", "13_2", "14")]
    slurm = queue_of(EndedJob("12", ended, 1, 0, ""), *gone)
    found = status(run, slurm)
    assert [job.state for job in found.values()] == ["finished", "finished", "failed", "not started", "not started"]
    assert found[TRAIN].note.startswith(reason)
    text = shown(found, run)
    assert "failed" in text and AFTER not in text


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["node2: task 1: Killed", "node2: task 0: Terminated"], "process 1 on node2 was killed by signal 9"),
        (["gpu01: tasks 2-3: Out Of Memory", "gpu01: task 0: Killed"], "process 2-3 on gpu01: Out Of Memory"),
        (["node1: task 0: Segmentation fault (core dumped)"], "process 0 on node1: Segmentation fault (core dumped)"),
        (["node1: task 0: Exited with exit code 1", "node2: task 1: Killed"], "RuntimeError: Connection closed"),
    ],
)
def test_who_died_first_is_the_reason(run: RunFolder, said: list[str], reason: str) -> None:
    finish(run, SYNTHESIZE, BEFORE)
    submit(run, TRAIN, "12")
    code = "1" if "Exited" in said[0] else "143"
    attempt(run, TRAIN, "12-1", crash_0="T\nRuntimeError: Connection closed by peer", exit=code)
    words = ["12: starts on gpu01, restart 0", "srun: error: gpu01: task 0: Bus error"]
    words += ["12: starts on gpu01, restart 1", *(f"srun: error: {line}" for line in said)]
    (run.jobs / TRAIN / "batch-12.txt").write_text("\n".join(words))
    found = status(run, queue_of(EndedJob("12", "FAILED", 1, 0, "")))
    assert found[TRAIN].note.startswith(reason)


def test_cancelled_lost_and_submitted_by_hand(run: RunFolder) -> None:
    finish(run, SYNTHESIZE, BEFORE)
    submit(run, TRAIN, "12")
    attempt(run, TRAIN, "12-0", exit="143")
    assert status(run, queue_of(EndedJob("12", "CANCELLED", 0, 15, "")))[TRAIN].state == "cancelled"
    (run.jobs / TRAIN / "attempt-12-0" / "exit").unlink()
    found = status(run)[TRAIN]
    assert (found.state, found.note) == ("lost", "the Slurm here does not know it; it was submitted to alpha")
    # `sbatch job.sbatch` writes no record: the newest start names the job.
    attempt(run, TRAIN, "99-0", age=10)
    found = status(run, queue_of(running("99", nodes="gpu[03-04]")))[TRAIN]
    assert (found.state, found.job_ids, found.nodes) == ("running", ("99",), "gpu[03-04]")


def test_where_slurm_cannot_be_asked_the_folders_speak(run: RunFolder) -> None:
    finish(run, SYNTHESIZE)
    submit(run, BEFORE, "11", 3)
    submit(run, TRAIN, "12")
    dead = queue_of(problem="Slurm: its controller does not answer")
    assert states(run, dead)[1:3] == ["submitted", "submitted"]
    attempt(run, TRAIN, "12-0")
    attempt(run, BEFORE, "11_1-0", error_1="x.jpg: is no picture", exit="2")
    progress(run, TRAIN, 5, 10)
    found = status(run, dead)
    assert found[TRAIN].state == "running" and found[TRAIN].progress is not None and found[TRAIN].progress.rate == 2.0
    assert found[BEFORE].shards == "0/3 shards done, 2 submitted, 1 failed"
    assert "x.jpg: is no picture" in found[BEFORE].note, "a failed element is told while others are at work"
    (run.jobs / TRAIN / "attempt-12-0" / "exit").write_text("137")
    assert status(run, dead)[TRAIN].note == "killed by signal 9 (out of memory?)"


def test_a_job_that_shows_nothing_for_long_is_said_to(run: RunFolder) -> None:
    finish(run, SYNTHESIZE, BEFORE)
    submit(run, TRAIN, "12", submitted=NOW - 9000)
    attempt(run, TRAIN, "12-0", age=8000)
    progress(run, TRAIN, 5, 10, age=7200)
    found = status(run, queue_of(running("12")))
    assert found[TRAIN].silent_seconds == pytest.approx(7200)
    assert "no progress for 2 h 00 min" in shown(found, run)
    assert status(run, queue_of(waiting("12", restarts=1)))[TRAIN].silent_seconds is None


# ---- on this machine, and after both --------------------------------------------------------------------------------


def test_a_local_run(run: RunFolder) -> None:
    assert states(run) == ["stopped", *["not started"] * 4]
    finish(run, SYNTHESIZE)
    with hold(run.lock, "submit"):
        assert states(run)[1] == "starting"
        attempt(run, BEFORE, "001")
        progress(run, BEFORE, 10, 40, part=2)
        found = status(run)[BEFORE]
        assert (found.state, found.shards) == ("running", "0/3 shards done")
        assert found.progress is not None and found.progress.rate == 2.0
    found = status(run)[BEFORE]
    assert (found.state, found.progress and found.progress.rate) == ("stopped", 0)
    (run.jobs / BEFORE / "attempt-001" / "crash-0").write_text("Traceback\nValueError: [/red] bad\n")
    found = status(run)
    assert (found[BEFORE].state, found[BEFORE].note) == ("failed", "ValueError: [/red] bad")
    assert "ValueError: [/red] bad" in shown(found, run), "no markup"
    attempt(run, BEFORE, "002", age=50)
    assert status(run)[BEFORE].state == "stopped", "the newest start counts"


def test_a_run_that_went_on_elsewhere_is_where_its_newest_start_is(run: RunFolder) -> None:
    finish(run, SYNTHESIZE, BEFORE)
    attempt(run, TRAIN, "001", age=5000, error_0="old mistake")
    submit(run, TRAIN, "12", submitted=NOW - 4000)
    assert status(run, queue_of(waiting("12", "Resources")))[TRAIN].note == "no free nodes yet"
    attempt(run, TRAIN, "12-0", age=3000, exit="137")
    assert status(run, queue_of(EndedJob("12", "OUT_OF_MEMORY", 0, 0, "")))[TRAIN].state == "failed"
    attempt(run, TRAIN, "002", age=2000)
    found = status(run, queue_of(EndedJob("12", "OUT_OF_MEMORY", 0, 0, "")))[TRAIN]
    assert (found.state, found.job_ids, found.attempts) == ("stopped", (), 3)
    assert [a.path.name for a in attempts_of(run, TRAIN)] == ["attempt-001", "attempt-12-0", "attempt-002"]


# ---- the tables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 72, 80, 110, 200])
def test_tables_fit_every_terminal_and_lose_no_word(run: RunFolder, width: int) -> None:
    finish(run, SYNTHESIZE, BEFORE)
    submit(run, TRAIN, "12")
    attempt(run, TRAIN, "12-2", error_0="experiments/a.yaml: train.lr: unknown key; did you mean learning_rate?")
    found = status(run, queue_of(EndedJob("12", "FAILED", 2, 0, "")))
    console = Console(width=width)
    for table in (
        runs_table([RunStatus(run, tuple(found.values()))], width),
        jobs_table(RunStatus(run, tuple(found.values())), width),
    ):
        with console.capture() as capture:
            console.print(table)
        text = capture.get()
        assert max(map(len, text.splitlines())) <= width
        assert "failed" in text
        if width >= 72:
            for word in ("train-llava", "experiments/a.yaml:", "learning_rate?"):
                assert word in text


def test_the_command_says_it_in_a_table_and_as_json(
    run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    output = f"--output={run.path.parent}"
    submit(run, SYNTHESIZE, "10")
    assert main(["status", output]) == 0
    out = capsys.readouterr().out
    assert (
        "submitted" in out and "Slurm was not asked, the folders alone speak: Slurm: this machine has no squeue" in out
    )
    finish(run, SYNTHESIZE)
    attempt(run, BEFORE, "001", error_0="x: wrong")
    assert main(["status", output]) == 0
    out = capsys.readouterr().out
    assert "x: wrong" in out and f"make logs RUN={run.id}" in out and "Slurm was not asked" not in out
    assert main(["status", "some", output]) == 0
    assert REPORT in capsys.readouterr().out
    assert main(["status", "--json", output]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["problem"], told["runs"][0]["run"], told["runs"][0]["state"]) == ("", run.id, "failed")
    assert told["runs"][0]["jobs"][1]["note"] == "x: wrong"
    run.experiment_file.write_text("name: [\n")
    assert main(["status", output]) == 0
    assert "unreadable" in capsys.readouterr().out


# ---- finding runs ---------------------------------------------------------------------------------------------------


def test_runs_submitted_from_here_are_found_wherever_they_lie(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "project"
    here.mkdir()
    monkeypatch.chdir(here)
    assert outputs() == (Path("runs"),)
    remember_output(Path("runs"))
    assert outputs() == (Path("runs"),)
    gone = tmp_path / "gone"
    gone.mkdir()
    for folder in (run.path.parent, gone, run.path.parent):
        remember_output(folder)
    gone.rmdir()
    assert outputs() == (Path("runs"), run.path.parent)
    assert find_runs(outputs()) == [run] and find_run("some", outputs()) == run
    assert find_run(str(run.path), ()) == run, "by its path, wherever it is"
    with pytest.raises(UserError, match=f"choose from: {run.id}"):
        find_run("other", outputs())


def test_a_sweeps_name_means_its_runs(run: RunFolder) -> None:
    folder = run.path.parent
    sweep = folder / "some-sweep-12345678"
    sweep.mkdir()
    points = [{"run": one, "labels": {}, "settings": {}} for one in (run.id, "some-not-begun")]
    (sweep / "sweep.yaml").write_text(json.dumps({"name": "some", "question": "", "points": points}))
    assert find_runs_of(sweep.name, (folder,)) == find_runs_of(str(sweep), ()) == [run]
    assert find_runs_of(run.id, (folder,)) == [run]


# ---- logs -----------------------------------------------------------------------------------------------------------


def test_logs_of_the_newest_starts_failed_elements_first(
    run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path.parent)
    attempt(run, SYNTHESIZE, "001", age=900).joinpath("7_0_log.out").write_text("local words\n")
    attempt(run, BEFORE, "11_0-0", age=500, exit="0")
    attempt(run, BEFORE, "11_1-0", age=400, exit="75")
    attempt(run, BEFORE, "11_1-1", age=300, error_1="x: wrong", exit="2")
    attempt(run, BEFORE, "11_2-0", age=200)
    (run.jobs / BEFORE / "batch-11_1.txt").write_text("host words\n")
    logs = [str(log.relative_to(run.jobs / BEFORE)) for log in newest_logs(run, BEFORE)]
    assert logs == [
        "batch-11_1.txt",
        "attempt-11_1-1/log-0.txt",
        "attempt-11_2-0/log-0.txt",
        "attempt-11_0-0/log-0.txt",
    ]
    output = f"--output={run.path.parent}"
    (run.jobs / BEFORE / logs[1]).write_text("\n".join(f"line {n}" for n in range(20_000)))
    assert main(["logs", "some", output]) == 0
    out = capsys.readouterr().out
    assert out.index("local words") < out.index("host words") < out.index("line 19999")
    assert "line 19960" in out and "line 19959" not in out
    assert main(["logs", "some", "--job", SYNTHESIZE, output]) == 0
    assert "host words" not in capsys.readouterr().out
    assert main(["logs", "some", "--job", "synthesise", output]) == 2
    assert "did you mean synthesize?" in capsys.readouterr().err


# ---- cancel and requeue ---------------------------------------------------------------------------------------------


def test_cancel_ends_the_submitter_on_this_machine(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    code = f"""
import sys, time
from pathlib import Path
from urbanvlm.lock import hold
try:
    with hold(Path({str(run.lock)!r}), "submit some"):
        print("held", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    # Whoever is not waited for stays a zombie, which counts as ended.
    assert main(["cancel", str(run.path)]) == 0
    assert f"stopped submit some, process {process.pid}" in capsys.readouterr().out
    assert process.wait(60) == 130 and not run.lock.exists()
    process.stdout.close()
    assert main(["cancel", str(run.path)]) == 0
    assert "nothing of some-" in capsys.readouterr().out


def test_cancel_leaves_what_another_machine_holds(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    owner = {"host": "elsewhere", "pid": os.getpid(), "born": "1", "what": "submit some"}
    run.lock.write_text(json.dumps(owner))
    assert main(["cancel", str(run.path)]) == 2
    assert "on elsewhere; stop that process there" in capsys.readouterr().err


def test_requeue_of_a_run_that_slurm_never_had(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["requeue", str(run.path)]) == 2
    assert "was never submitted to Slurm" in capsys.readouterr().err
    finish(run, *JOBS)
    assert main(["requeue", str(run.path)]) == 0
    assert "is finished" in capsys.readouterr().out


@pytest.mark.slurm
def test_cancel_and_requeue_on_a_real_slurm(
    run: RunFolder, slurm_cluster: DevCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/bash\nsleep 300\n")
    options = ("--output=/dev/null", "--mem=100", "--requeue")
    first = slurm_cluster.sbatch(*options, tmp_path / "job.sh")
    array = slurm_cluster.sbatch(*options, "--array=0-2%1", tmp_path / "job.sh")
    after = slurm_cluster.sbatch(*options, f"--dependency=afterok:{first}", tmp_path / "job.sh")
    stranger = slurm_cluster.sbatch(*options, tmp_path / "job.sh")
    now = time.time()
    submit(run, SYNTHESIZE, first, submitted=now)
    submit(run, BEFORE, array, 3, submitted=now)
    submit(run, TRAIN, after, submitted=now)
    slurm_cluster.wait_for(first, "RUNNING")
    slurm_cluster.wait_for(f"{array}_0", "RUNNING")
    assert main(["status", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "0/3 shards done, 1 running, 2 waiting" in out and "after the jobs it needs" in out

    assert main(["requeue", str(run.path), "--cluster", "nowhere"]) == 2
    assert slurm_cluster.restarts(first) == 0, "a profile that is not there leaves all as it is"
    profile = tmp_path / "alpha.yaml"
    profile.write_text("executor: slurm\npartition: main\n")
    capsys.readouterr()
    assert main(["requeue", str(run.path), "--cluster", str(profile)]) == 0
    out = capsys.readouterr().out
    assert f"synthesize: requeues job {first}" in out and f"{BEFORE}: requeues job {array}_0" in out
    assert f"{TRAIN}: in the queue as {after}" in out and f"{AFTER}: submitted as" in out
    slurm_cluster.wait_until(lambda: slurm_cluster.restarts(first) == 1)
    slurm_cluster.wait_for(first, "PENDING")
    slurm_cluster.run("scontrol", "update", f"JobId={first}", "StartTime=now+600")
    # Slurm forgets the reason with that, until it looks at the job again.
    slurm_cluster.wait_until(lambda: slurm_cluster.squeue(first, "%r") == ["BeginTime"])
    assert main(["status", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "requeued 1 time" in out and "Slurm starts it again a little later" in out

    assert main(["cancel", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert f"synthesize: cancels job {first} (pending)" in out
    assert f"{BEFORE}: cancels 3 jobs of {array} (" in out and f"{REPORT}: cancels job" in out
    for job in (first, array, after):
        slurm_cluster.wait_for(job, "CANCELLED")
    assert slurm_cluster.squeue(stranger) == ["RUNNING"]
    assert main(["cancel", str(run.path)]) == 0
    assert "nothing of" in capsys.readouterr().out
    assert main(["status", str(run.path)]) == 0
    assert "cancelled" in capsys.readouterr().out


@pytest.mark.slurm
def test_requeue_at_once_after_cancel_begins_all_anew(
    run: RunFolder, slurm_cluster: DevCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was cancelled is still there while its processes end, and nothing may be put behind it."""
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\ntrap '' TERM\ntouch '{tmp_path}/deaf'\nwhile true; do sleep 0.2; done\n")
    first = slurm_cluster.sbatch("--output=/dev/null", "--mem=100", script)
    after = slurm_cluster.sbatch("--output=/dev/null", "--mem=100", f"--dependency=afterok:{first}", script)
    submit(run, SYNTHESIZE, first, submitted=time.time())
    submit(run, TRAIN, after, submitted=time.time())
    slurm_cluster.wait_until((tmp_path / "deaf").exists)
    profile = tmp_path / "alpha.yaml"
    profile.write_text("executor: slurm\npartition: main\nsbatch: {hold: true}\n")
    assert main(["cancel", str(run.path)]) == 0
    assert main(["requeue", str(run.path), "--cluster", str(profile)]) == 0
    assert capsys.readouterr().out.count(": submitted as") == len(JOBS)
    (again, train) = (read_submission(run, job) for job in (SYNTHESIZE, TRAIN))
    assert again is not None and train is not None and again.job_id != first
    (words,) = slurm_cluster.squeue(train.job_id, "%E")
    assert again.job_id in words
