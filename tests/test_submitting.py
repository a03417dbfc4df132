"""sbatch may be given up, or give up, when Slurm has taken the job: it is found again, and has no twin."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from slurm_support import DevCluster

from slurm import queue, sweep
from slurm.__main__ import main
from slurm.cluster import Cluster
from slurm.plan import make_plan
from slurm.submission import Submission, read_asked, read_submission, write_submission
from slurm.submit import in_queue
from slurm.submitting import find_again, submit_script
from urbanvlm.errors import UserError
from urbanvlm.experiment import load_experiment
from urbanvlm.lock import living_owner
from urbanvlm.run_folder import RunFolder
from urbanvlm.sweep import SweepFolder, load_sweep

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent
CLUSTER = Cluster(name="c", executor="slurm", partition="p")
BEFORE = "evaluate-llava-before"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """In a folder whose name Slurm has to carry as it is."""
    overrides = [
        f"output={tmp_path / 'rüns $(x) %j'}",
        'models=[{"family": "llava"}]',
        "evaluate.shards=2",
        "name=some",
    ]
    experiment = load_experiment(ROOT / "experiments" / "demo.yaml", overrides)
    run = RunFolder.of(experiment)
    run.create()
    run.write_experiment(experiment)
    return run


def told(job_id: str = "", *, elements: int | None = None, index: int | None = None, script: str = "") -> Submission:
    return Submission(job_id, elements, index, "alpha", 1.5, script)


def answer(monkeypatch: pytest.MonkeyPatch, sbatch: Callable[[], str], queued: Callable[[], dict[str, str]]) -> None:
    monkeypatch.setattr(queue, "sbatch", lambda script, **options: sbatch())
    monkeypatch.setattr(queue, "scripts", queued)


def nobody() -> str:
    raise queue.Unanswered("Slurm", "sbatch got no answer in 60 s")


def refuse() -> str:
    raise UserError("job.sbatch", "Slurm refuses it")


def busy() -> dict[str, str]:
    raise UserError("squeue", "Slurm does not answer")


def test_an_answer_is_recorded_and_a_refusal_leaves_the_record_of_before(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, place = Path("/x/job.sbatch"), (run, "report")
    answer(monkeypatch, lambda: "12", busy)
    assert submit_script(script, {place: told()}) == "12"
    before = told("12", script=str(script))
    assert (read_submission(*place), read_asked(*place)) == (before, None)
    answer(monkeypatch, refuse, busy)
    with pytest.raises(UserError, match="refuses"):
        submit_script(script, {place: told()})
    assert (read_submission(*place), read_asked(*place)) == (before, None)


def test_an_unanswered_job_is_looked_for_at_once_and_remembered_where_that_fails_too(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, place = Path("/x/job.sbatch"), (run, "report")
    write_submission(*place, told("11"))
    for queued in (busy, dict):
        answer(monkeypatch, nobody, queued)
        with pytest.raises(queue.Unanswered):
            submit_script(script, {place: told()})
        assert (read_submission(*place), read_asked(*place)) == (told("11"), told(script=str(script)))
    answer(monkeypatch, nobody, lambda: {"13": str(script), "14": "/y/job.sbatch"})
    assert submit_script(script, {place: told()}) == "13"
    assert (read_submission(*place), read_asked(*place)) == (told("13", script=str(script)), None)


def test_a_job_is_found_by_its_script_and_an_element_by_its_number(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two arrays of one script: the older one has elements of other runs left in the queue."""
    monkeypatch.setattr(
        queue, "scripts", lambda: {"7_1": "/s/a", "9_0": "/s/a", "9_3": "/s/a", "21": "/s/b", "22": "/t"}
    )
    asked = {
        "first": told(index=0, script="/s/a"),
        "second": told(index=1, script="/s/a"),
        "third": told(index=2, script="/s/a"),
        "shards": told(elements=4, script="/s/a"),
        "single": told(script="/s/b"),
        "old": told("21"),
    }
    found = find_again({(run, name): submission for name, submission in asked.items()})
    ids = {name: submission.job_id for (_, name), submission in found.items()}
    assert ids == {"first": "9", "second": "7", "shards": "9", "single": "21"}


@pytest.mark.parametrize(
    ("script", "unanswered"),
    [
        (
            "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1",
            True,
        ),
        (
            "echo 'sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received' >&2; exit 1",
            True,
        ),
        ("kill -9 $$", True),
        ("exit 0", True),
        ("exec sleep 1000", True),
        ("echo 'sbatch: error: Batch job submission failed: Invalid qos specification' >&2; exit 1", False),
    ],
    ids=["socket", "zero bytes", "killed", "silent", "hangs", "refused"],
)
def test_which_failures_leave_it_open_what_became_of_the_job(
    script: str, unanswered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "sbatch"
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.setattr(queue, "SUBMIT_SECONDS", 1.0 if "sleep" in script else 60.0)
    with pytest.raises(UserError) as caught:
        queue.sbatch(tmp_path / "job.sbatch")
    assert isinstance(caught.value, queue.Unanswered) == unanswered
    assert ("once more, finds the job" in str(caught.value)) == unanswered


def test_of_two_commands_one_submits_the_comparison_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = ["sweep={seed: [0, 1]}", f"output={tmp_path}"]
    swept_runs = load_sweep(ROOT / "experiments" / "demo.yaml", swept)
    locks = [RunFolder.of(point.experiment).lock for point in swept_runs.points]
    held: list[bool] = []

    def compare(folder: SweepFolder) -> dict[str, str]:
        held.extend(living_owner(lock) is not None for lock in locks)
        return {}

    for name, answer in {"check_arrays": None, "in_queue": {}, "is_done": True}.items():
        monkeypatch.setattr(sweep, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(sweep, "compare", compare)
    plans = [make_plan(point.experiment, CLUSTER) for point in swept_runs.points]
    (line,) = sweep.submit_sweep(swept_runs, plans)
    assert line.startswith("compare") and held == [True, True]
    assert not any(lock.exists() for lock in locks)


@pytest.mark.slurm
def test_a_real_slurm_that_took_jobs_without_an_answer(
    run: RunFolder,
    slurm_cluster: DevCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1"
    clients = {
        "sbatch": f'{shutil.which("sbatch")} "$@" > /dev/null; {lost}',
        "squeue": f"[[ ! -e '{tmp_path}/busy' ]] || exit 1; exec {shutil.which('squeue')} \"$@\"",
    }
    (tmp_path / "bin").mkdir()
    for name, text in clients.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    script = run.jobs / "job.sbatch"
    script.parent.mkdir(exist_ok=True)
    script.write_text("#!/bin/bash\n#SBATCH --output=/dev/null --mem=100 --hold\ntrue\n")
    jobs = {(run, "synthesize"): told()}
    found = submit_script(script, jobs)
    assert slurm_cluster.squeue(found) == ["PENDING"]

    (tmp_path / "busy").touch()
    array = run.jobs / "array.sbatch"
    array.write_text(script.read_text())
    with pytest.raises(queue.Unanswered):
        submit_script(array, {(run, BEFORE): told(elements=2)}, array="0-1")
    (tmp_path / "busy").unlink()
    assert main(["status", str(run.path), "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["runs"]
    (shown,) = (job for job in one["jobs"] if job["stage"] == BEFORE)
    assert shown["state"] == "waiting" and len(shown["job_ids"]) == 2
    assert read_submission(run, BEFORE) is None, "who only looks writes nothing"

    before = in_queue([(run, BEFORE), (run, "synthesize")])
    assert {job.submission.job_id for job in before.values()} == {found, shown["job_ids"][0].partition("_")[0]}
    assert read_submission(run, BEFORE) == before[run, BEFORE].submission
    assert main(["cancel", str(run.path)]) == 0
    assert f"{BEFORE}: cancels 2 jobs of" in capsys.readouterr().out
    slurm_cluster.wait_until(lambda: not slurm_cluster.run("squeue", "-h"))
