"""Jobs on a real Slurm, through the command line: undisturbed, disturbed in every way, failing, refused."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from slurm_support import ROOT, DevCluster

from slurm.dev import processes
from slurm.queue import is_final
from slurm.submission import read_submission
from urbanvlm.experiment import Experiment, load_experiment
from urbanvlm.progress import read_progress
from urbanvlm.run_folder import RunFolder, fingerprint, is_complete
from urbanvlm.stages import Stage, is_done, stages_of
from urbanvlm.starts import read_starts

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

SMALL = (
    "data.scenes.places=40 data.scenes.examples_per_subtype=15 train.max_steps=12 train.train_batch_size=8 "
    "train.checkpoint_every_steps=3 train.validate_every_steps=6 train.warmup_steps=2 "
    "train.log_every_steps=1 train.validation_examples=16 evaluate.batch_size=8 evaluate.bootstrap_resamples=50 "
    "resources.nodes=2 resources.memory_gb=4"
)
ONE = f"{SMALL} 'models=[{{family: blip2}}]' evaluate.shards=2 resources.processes=1 train.micro_batch_size=4"
"""One family, one process on each of two nodes."""
HOSTILE = 'it\'s "bäd" $(touch owned) `touch owned` 100% %j; touch owned'
PATIENCE_SECONDS = 700.0
LOOK_EVERY_SECONDS = 0.3
ASK_EVERY_SECONDS = 3.0
NEEDED = ("slurm", "urbanvlm", "experiments", "containers")

SLOW = """
import os

_update = Progress.update


def _slowly(self: Progress, done: int, **more: object) -> None:
    _update(self, done, **more)
    pace = Path(os.environ["URBANVLM_ATTEMPT"]).parents[2] / "pace"
    if pace.is_file():
        time.sleep(float(pace.read_text()))


Progress.update = _slowly
"""
"""At the end of a copy's progress.py: every step takes so long that a disturbance meets it, until `pace` is removed."""


def checkout(folder: Path, **additions: str) -> Path:
    """A copy of the project to submit from; `additions`: module with __ for each slash -> text for its end."""
    for name in NEEDED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "images"))
    for module, text in additions.items():
        with (folder / f"{module.replace('__', '/')}.py").open("a", encoding="utf-8") as file:
            file.write(text)
    return folder


@dataclass(frozen=True)
class Case:
    """A run on a cluster, as its user sees it: commands in a checkout, and the run folder."""

    cluster: DevCluster
    checkout: Path
    output: Path
    settings: str = ONE
    yaml: str = "experiments/demo.yaml"
    profile: dict[str, Any] = field(default_factory=dict)
    """what differs from slurm-dev"""

    def slurm(self, verb: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return self.cluster.call(sys.executable, "-m", "slurm", verb, *words, cwd=self.checkout, timeout=120)

    @property
    def submission(self) -> list[str]:
        """Arguments of submit and plan."""
        settings = f"{self.settings} {shlex.quote(f'output={self.output}')}"
        return [self.yaml, "--cluster", self.cluster_name, "--set", settings]

    @cached_property
    def cluster_name(self) -> str:
        if not self.profile:
            return "slurm-dev"
        facts = yaml.safe_load((ROOT / "slurm" / "clusters" / "slurm-dev.yaml").read_text())
        file = (self.checkout / self.output).with_name(f"{self.output.name}-cluster.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(facts | self.profile))
        return str(file)

    def submit(self) -> str:
        done = self.slurm("submit", *self.submission)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @cached_property
    def experiment(self) -> Experiment:
        settings = shlex.split(self.settings)
        return load_experiment(self.checkout / self.yaml, [*settings, f"output={self.output}"])

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.checkout / self.output / self.experiment.run_id)

    @property
    def stages(self) -> tuple[Stage, ...]:
        return stages_of(self.experiment)

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def job(self, name: str) -> str:
        """Its newest id, of an array that of the whole."""
        submission = read_submission(self.run, name)
        assert submission is not None, f"{name} was not submitted"
        return submission.job_id

    def queued(self) -> dict[str, str]:
        """Job or element -> state, of the run's jobs that have not ended."""
        ids = [found.job_id for stage in self.stages if (found := read_submission(self.run, stage.name))]
        if not ids:
            return {}
        text = self.cluster.run("squeue", "-h", "-r", "-t", "all", "-j", ",".join(ids), "-o", "%i %T")
        rows = dict(line.split() for line in text.splitlines())
        return {job: state for job, state in rows.items() if not is_final(state)}

    def starts(self, name: str) -> int:
        return len(list((self.run.jobs / name).glob("attempt-*")))

    def was_restarted(self, name: str) -> bool:
        """Of an array the first element. Slurm may count two restarts before it begins again."""
        return self.newest_restart(name) > 0

    def newest_restart(self, name: str) -> int:
        """Of an array the first element's; -1 before it begins."""
        folders = (self.run.jobs / name).glob(f"attempt-{self.element(name)}-*")
        return max((int(folder.name.rpartition("-")[2]) for folder in folders), default=-1)

    def status(self) -> dict[str, dict[str, Any]]:
        """What `status --json` says of each job."""
        shown = self.slurm("status", self.run.id, "--output", self.output, "--json")
        assert shown.returncode == 0, shown.stderr
        (one,) = json.loads(shown.stdout)["runs"]
        return {job["stage"]: job for job in one["jobs"]}

    def is_finished(self) -> bool:
        return all(is_done(self.run, self.experiment, stage) for stage in self.stages)

    def wait_until(self, condition: Callable[[], object], what: str, *, alive: bool = True) -> None:
        """alive: it is no use waiting when the queue is empty, which Slurm is asked now and then."""
        end, ask = time.monotonic() + PATIENCE_SECONDS, 0.0
        while not condition():
            assert time.monotonic() < end, f"in vain: {what}\n{self.report()}"
            if alive and time.monotonic() > ask:
                ask = time.monotonic() + ASK_EVERY_SECONDS
                # Between the two questions the last job may have ended.
                assert self.queued() or condition(), f"nothing is in the queue: {what}\n{self.report()}"
            time.sleep(LOOK_EVERY_SECONDS)

    def finish(self) -> None:
        self.wait_until(self.is_finished, "the run does not finish")

    def wait_for_the_end(self) -> None:
        self.wait_until(lambda: not self.queued(), "the queue does not get empty", alive=False)

    def element(self, name: str) -> str:
        """Its newest id, of an array that of the first element."""
        return self.job(name) + ("_0" if self.stage(name).kind == "evaluate" else "")

    def at_work(self, name: str, done: int = 4) -> None:
        """Waits until the newest start of the stage is so far, and has done something itself."""
        file = self.run.progress_file(name, 0)

        def has_done() -> bool:
            progress = read_progress(file)
            starts = [start for start in read_starts(self.run, self.stage(name)) if start.element in (None, 0)]
            if progress is None or not starts or starts[-1].restart != self.newest_restart(name):
                return False
            # What an ended start has left says nothing of its successor.
            is_of_it = file.stat().st_mtime >= starts[-1].began
            return is_of_it and progress.done >= max(done, starts[-1].progress + 1)

        self.wait_until(has_done, f"{name} does not get to work")

    def report(self) -> str:
        """For the reader of a failed test."""
        shown = self.slurm("status", self.run.id, "--output", self.output)
        logs = self.slurm("logs", self.run.id, "--output", self.output)
        return f"{shown.stdout}{shown.stderr}{logs.stdout}{logs.stderr}{self.queued()}"

    def copy(self, reference: Case, *stages: str) -> None:
        """Take over what these stages have left in another folder's run of the same id."""
        for stage in stages:
            kind, *where = stage.split("-")
            part = {"synthesize": "dataset", "train": "models/{}/train", "evaluate": "models/{}/evaluate/{}"}[kind]
            part = part.format(*where)
            shutil.copytree(reference.run.path / part, self.run.path / part)

    def result(self) -> tuple[bytes, dict[str, str]]:
        """What must be the same, however the run got there: scores.json, and each model's exported weights."""
        weights = {
            model.label: fingerprint(self.run.train(model.label) / "export" / "model.safetensors")
            for model in self.experiment.models
        }
        return self.run.scores.read_bytes(), weights


# The demo, undisturbed


def test_the_demo_runs_untouched_by_hand(slurm_cluster: DevCluster, tmp_path: Path) -> None:
    case = Case(
        slurm_cluster,
        checkout(tmp_path / "code"),
        tmp_path / "runs",
        settings=f"{SMALL} evaluate.shards=4 resources.processes=2 train.micro_batch_size=2 models.0.images=[real]",
    )
    said = case.submit()
    jobs = {stage.name: case.job(stage.name) for stage in case.stages}
    assert all(job in said for job in jobs.values())
    before = slurm_cluster.run("squeue", "-h", "-o", "%F").split()
    assert sorted(set(before)) == sorted(jobs.values())
    dependency = slurm_cluster.run("squeue", "-h", "-j", jobs["report"], "-o", "%E")
    for name, job in jobs.items():
        assert (job in dependency) == name.startswith("evaluate"), (name, dependency)
    assert f"afterok:{jobs['train-llava']}" in slurm_cluster.run(
        "squeue", "-h", "-j", jobs["evaluate-llava-after"], "-o", "%E"
    )

    # What is edited after submit does not reach the jobs.
    for module in ("urbanvlm/train/loop.py", "urbanvlm/stages.py", "slurm/job.py", "slurm/batch.sh"):
        (case.checkout / module).write_text("exit(1)\n")
    case = replace(case, checkout=checkout(tmp_path / "again"))
    assert case.submit().count("in the queue as") == len(jobs)
    assert {stage.name: case.job(stage.name) for stage in case.stages} == jobs
    assert {job.partition("_")[0] for job in case.queued()} <= {*jobs.values()}

    case.finish()
    case.wait_for_the_end()
    assert {job["state"] for job in case.status().values()} == {"finished"}
    scores = json.loads(case.run.scores.read_text())
    assert {(s["model"], s["phase"]) for s in scores} == {
        (model.label, phase) for model in case.experiment.models for phase in ("before", "after")
    }
    for stage in case.stages:
        assert case.starts(stage.name) == (4 if stage.kind == "evaluate" else 1), stage.name
    for model in case.experiment.models:
        (attempt,) = (case.run.jobs / f"train-{model.label}").glob("attempt-*")
        assert len(list(attempt.glob("log-*.txt"))) == 4
        states = case.run.train(model.label).glob("checkpoints/step-*/state.json")
        assert {json.loads(state.read_text())["world_size"] for state in states} == {4}
    assert case.submit().count("done") >= len(jobs)
    assert not case.queued()


# Disturbed: many runs at the same time on a larger cluster, each on nodes of its own


@dataclass(frozen=True)
class Scenario:
    """What happens to a run while one of its jobs is at work, and what it takes to go on."""

    job: str
    disturb: Callable[[Case, str], None]
    profile: dict[str, Any] = field(default_factory=dict)
    pace: float = 0.8
    """seconds that a step takes at least, until it was disturbed"""
    loses_nothing: bool = False
    """it is told in time, and begins again where it ended"""
    settings: str = "resources.nodes=1 resources.processes=2"
    """the same two processes as those of the undisturbed run, which had a node each"""


def batch_usr2(case: Case, name: str) -> None:
    case.cluster.run("scancel", "--batch", "--signal=USR2", case.element(name))


def end_time(case: Case, name: str) -> None:
    # Slurm looks at time limits every half a minute, and then finds the signal due.
    case.cluster.run("scontrol", "update", f"JobId={case.element(name)}", "EndTime=now+80")
    case.wait_until(lambda: case.was_restarted(name), "Slurm does not tell of the time limit")
    case.cluster.run("scontrol", "update", f"JobId={case.element(name)}", "TimeLimit=60")


def preempt(case: Case, name: str) -> None:
    case.cluster.preempt(case.element(name), seconds=1)


def requeue(case: Case, name: str) -> None:
    case.cluster.run("scontrol", "requeue", case.element(name))


def cancel_and_requeue(case: Case, name: str) -> None:
    """The job itself by hand, from elsewhere; then what comes after it."""
    cancel(case, name)
    by_hand = case.cluster.sbatch(case.run.jobs / name / "job.sbatch", cwd=Path("/"))
    (case.run.path / "pace").unlink()
    case.cluster.wait_for(by_hand, "COMPLETED", seconds=PATIENCE_SECONDS)
    done = case.slurm("requeue", case.run.id, "--output", case.output)
    assert done.returncode == 0, done.stderr


def cancel(case: Case, name: str) -> None:
    case.cluster.run("scancel", case.element(name))
    # What waits for it goes, too.
    case.wait_for_the_end()
    states = {stage: shown["state"] for stage, shown in case.status().items()}
    assert states[name] == "cancelled", states
    assert "running" not in states.values() and "waiting" not in states.values(), states


def power_off_first(case: Case, name: str) -> None:
    lose(case, name, 0)


def power_off_silently(case: Case, name: str) -> None:
    """The processes on the other node meet a closed connection long before Slurm misses the node."""
    lose(case, name, -1, noticed=False)


def lose(case: Case, name: str, which: int, *, noticed: bool = True) -> None:
    node = case.cluster.nodes_of(case.element(name))[which]
    case.cluster.power_off(node, noticed=noticed)
    case.wait_until(lambda: case.was_restarted(name), "it is not started again")
    case.cluster.power_on(node)


def cut(case: Case, name: str) -> None:
    """For as long as it takes until Slurm has noticed."""
    node = case.cluster.nodes_of(case.element(name))[-1]
    case.cluster.cut(node)
    case.wait_until(lambda: case.was_restarted(name), "it is not started again")
    case.cluster.join(node)


LOW = {"partition": "low", "cpu_partition": "low", "preemption": {"mode": "requeue", "grace_seconds": 30}}
SCAVENGE = {"partition": "scavenge", "cpu_partition": "scavenge", "preemption": {"mode": "requeue"}}
SPOT = {"partition": "spot", "cpu_partition": "spot", "preemption": {"mode": "cancel", "grace_seconds": 30}}
TRAIN, EVALUATE = "train-blip2", "evaluate-blip2-after"

SCENARIOS = {
    "train, time limit": Scenario(TRAIN, end_time, pace=5, loses_nothing=True),
    "train, preempted with grace": Scenario(TRAIN, preempt, LOW, loses_nothing=True),
    "train, preempted by cancelling": Scenario(TRAIN, preempt, SPOT, loses_nothing=True),
    "train, preempted without grace": Scenario(TRAIN, preempt, SCAVENGE),
    "train, scontrol requeue": Scenario(TRAIN, requeue),
    "train, scancel": Scenario(TRAIN, cancel_and_requeue),
    "train, first node off": Scenario(TRAIN, power_off_first, settings=""),
    "train, last node off, not noticed": Scenario(TRAIN, power_off_silently, settings=""),
    "evaluate, told by hand": Scenario(EVALUATE, batch_usr2),
    "evaluate, node off": Scenario(EVALUATE, power_off_first),
}
AT_ONCE = 4
"""on nodes of their own"""


def play(scenario: Scenario, case: Case, reference: Case) -> Case:
    """The run, finished stages taken over from the reference, to its end."""
    case.copy(reference, "synthesize", "evaluate-blip2-before")
    if scenario.job == EVALUATE:
        case.copy(reference, TRAIN)
    pace = case.run.path / "pace"
    pace.write_text(str(scenario.pace))
    case.submit()
    case.at_work(scenario.job)
    scenario.disturb(case, scenario.job)
    pace.unlink(missing_ok=True)
    case.finish()
    case.wait_for_the_end()
    return case


SHORT = "rendering, time limit shorter than the lead time"


def play_short(case: Case) -> Case:
    """Its own job alone: two minutes are little for all others on a slow machine."""
    case.run.path.mkdir(parents=True)
    pace = case.run.path / "pace"
    pace.write_text("3")
    case.submit()
    case.wait_until(lambda: case.was_restarted("synthesize"), "the time limit does not come")
    pace.unlink()
    case.wait_until(lambda: is_complete(case.run.dataset), "rendering does not end")
    assert case.slurm("cancel", case.run.id, "--output", case.output).returncode == 0
    case.wait_for_the_end()
    return case


@pytest.fixture(scope="module")
def wide_cluster(slurm_clusters: Callable[..., DevCluster]) -> DevCluster:
    return slurm_clusters("wide", "--nodes=10")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose stages go as slowly as a test wants."""
    return checkout(tmp_path_factory.mktemp("slow"), urbanvlm__progress=SLOW)


@pytest.fixture(scope="module")
def undisturbed(wide_cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """In a folder relative to the one it is submitted in, with a name as bad as can be."""
    folder = tmp_path_factory.mktemp("undisturbed")
    case = Case(wide_cluster, checkout(folder / HOSTILE), Path(HOSTILE))
    case.submit()
    case.finish()
    case.wait_for_the_end()
    return case


@pytest.fixture(scope="module")
def played(
    wide_cluster: DevCluster, undisturbed: Case, slow: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Callable[[], Case]]]:
    """All scenarios, several at a time; each is asked for its result by a test of its own."""
    folder = tmp_path_factory.mktemp("played")

    def case_of(number: int, profile: dict[str, Any], settings: str = "") -> Case:
        profile = {"sbatch": {"exclusive": True}} | profile
        return Case(wide_cluster, slow, folder / f"runs-{number}", f"{ONE} {settings}", profile=profile)

    with ThreadPoolExecutor(AT_ONCE + 1) as pool:
        short = case_of(0, {"signal_delay_seconds": 300}, "resources.timeout_minutes=2")
        results = {SHORT: pool.submit(play_short, short).result}
        for number, (name, scenario) in enumerate(SCENARIOS.items(), start=1):
            case = case_of(number, scenario.profile, scenario.settings)
            results[name] = pool.submit(play, scenario, case, undisturbed).result
    yield results
    wide_cluster.put_in_order()


def test_names_are_names_to_every_shell_on_the_way(undisturbed: Case) -> None:
    assert undisturbed.is_finished()
    assert {job["state"] for job in undisturbed.status().values()} == {"finished"}
    assert "owned" not in {path.name for path in undisturbed.checkout.parent.rglob("*")}
    assert not (ROOT / "owned").exists() and not Path("owned").exists()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_disturbed_run_ends_as_an_undisturbed_one(
    name: str, played: dict[str, Callable[[], Case]], undisturbed: Case
) -> None:
    case, scenario = played[name](), SCENARIOS[name]
    assert case.result() == undisturbed.result()
    starts = [start for start in read_starts(case.run, case.stage(scenario.job)) if start.element in (None, 0)]
    assert len(starts) > 1, "it was not disturbed"
    assert starts[1].progress > 0, "it began anew"
    if scenario.loses_nothing:
        assert starts[1].progress >= 4


def test_a_job_shorter_than_its_lead_time_gets_to_its_end(
    played: dict[str, Callable[[], Case]], undisturbed: Case
) -> None:
    case = played[SHORT]()
    starts = [start.progress for start in read_starts(case.run, case.stage("synthesize"))]
    assert len(starts) > 1 and starts[0] == 0 < starts[-1]
    files = {path.relative_to(undisturbed.run.dataset) for path in undisturbed.run.dataset.rglob("*") if path.is_file()}
    assert len(files) > 40
    for file in files:
        assert (case.run.dataset / file).read_bytes() == (undisturbed.run.dataset / file).read_bytes(), file


def test_a_run_whose_network_was_cut_ends_as_an_undisturbed_one(
    slurm_network: DevCluster, undisturbed: Case, slow: Path, tmp_path: Path
) -> None:
    case = play(Scenario(TRAIN, cut), Case(slurm_network, slow, tmp_path / "runs"), undisturbed)
    assert case.result() == undisturbed.result()
    first, *later = read_starts(case.run, case.stage(TRAIN))
    assert first.progress == 0 and later and all(start.progress > 0 for start in later)


# In a container: it holds what the virtual environment holds, so the results are the same to the last byte


@pytest.mark.container
@pytest.mark.timeout(1500)  # the first to ask for the container image waits until it is built
def test_a_run_in_a_container_is_preempted_and_ends_as_an_undisturbed_one(
    wide_cluster: DevCluster, undisturbed: Case, apptainer_image: Path, slow: Path, tmp_path: Path
) -> None:
    container = {"runtime": "apptainer", "image": str(apptainer_image)}
    case = Case(wide_cluster, slow, tmp_path / "runs", profile={**LOW, "container": container})
    case.copy(undisturbed, "synthesize", "evaluate-blip2-before")
    pace = case.run.path / "pace"
    pace.write_text("0.8")
    case.submit()
    # Where Apptainer mounts without root, as here, Slurm's own signal takes the container's files away: work since the
    # last checkpoint is done again, and no more. What the batch script is told costs nothing.
    case.at_work(TRAIN)
    preempt(case, TRAIN)
    case.wait_until(lambda: case.was_restarted(TRAIN), "it is not started again")
    pace.write_text("3")
    case.at_work(TRAIN, done=5)
    told = case.newest_restart(TRAIN)
    batch_usr2(case, TRAIN)
    case.wait_until(lambda: case.newest_restart(TRAIN) > told, "it is not started again")
    case.at_work(EVALUATE)
    preempt(case, EVALUATE)
    pace.unlink()
    case.finish()
    case.wait_for_the_end()

    assert case.result() == undisturbed.result()
    first, second, *later = read_starts(case.run, case.stage(TRAIN))
    assert first.progress == 0 < second.progress
    told_start = next(start for start in (second, *later) if start.restart == told)
    assert next(start.progress for start in later if start.restart > told) > told_start.progress
    starts = [start for start in read_starts(case.run, case.stage(EVALUATE)) if start.element == 0]
    assert len(starts) > 1 and starts[1].progress > 0, "it began anew"
    states = case.run.train("blip2").glob("checkpoints/step-*/state.json")
    assert {json.loads(state.read_text())["world_size"] for state in states} == {2}
    # Who had it started again was the batch script: the container image knows no Slurm.
    inside = ["apptainer", "exec", str(apptainer_image), "sh", "-c", "command -v python3 srun scontrol"]
    found = subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False)
    assert found.stdout.splitlines() == ["/opt/urbanvlm/bin/python3"], found.stderr


# Failing: once, with the reason, and nothing waits for it any more


BUG = """

def train(*_: object) -> None:
    raise RuntimeError("a bug of ours")
"""
HOARD = """

def train(*_: object) -> None:
    hoard = b"x" * (2 << 30)
    time.sleep(60)
    print(len(hoard))
"""
DEATH = """

import os

if "URBANVLM_ATTEMPT" in os.environ:
    while not Path(os.environ["URBANVLM_ATTEMPT"], "stop").exists():
        time.sleep(0.1)
    os.kill(os.getpid(), 9)
"""
ON_ONE_NODE = f"{ONE} resources.nodes=1 resources.processes=2"


def check_failed(case: Case, name: str, reason: str) -> None:
    case.wait_for_the_end()
    status = case.status()
    assert (status[name]["state"], status[name]["restarts"]) == ("failed", 0), status[name]
    assert reason in status[name]["note"], status[name]
    stages = [stage for stage in case.stages if stage.name != name and not is_done(case.run, case.experiment, stage)]
    assert {status[stage.name]["state"] for stage in stages} == {"not started"}
    elements = case.experiment.evaluate.shards if case.stage(name).kind == "evaluate" else 1
    assert case.starts(name) == elements and not any(case.starts(stage.name) for stage in stages)
    shown = case.slurm("status", case.run.id, "--output", case.output).stdout
    assert reason in " ".join(shown.split()), shown


def test_a_file_that_is_gone_when_the_job_starts(slurm_cluster: DevCluster, tmp_path: Path) -> None:
    case = Case(
        slurm_cluster,
        checkout(tmp_path / "code"),
        Path("runs"),
        "",
        "experiments/photos.yaml",
        {"sbatch": {"hold": True}},
    )
    case.submit()
    (case.checkout / "experiments" / "photos" / "questions.jsonl").unlink()
    for stage in case.stages:
        slurm_cluster.run("scontrol", "release", case.job(stage.name))
    check_failed(case, "evaluate-llava-before", "experiments/photos/questions.jsonl: no such file")


@pytest.mark.parametrize(
    ("addition", "settings", "reason"),
    [(BUG, "", "RuntimeError: a bug of ours"), (HOARD, "resources.memory_gb=1", "out of memory")],
    ids=["bug", "memory"],
)
def test_a_job_that_breaks(
    addition: str, settings: str, reason: str, slurm_cluster: DevCluster, undisturbed: Case, tmp_path: Path
) -> None:
    code = checkout(tmp_path / "code", urbanvlm__train__loop=addition)
    case = Case(slurm_cluster, code, tmp_path / "runs", f"{ON_ONE_NODE} {settings}")
    case.copy(undisturbed, "synthesize", "evaluate-blip2-before")
    case.submit()
    check_failed(case, TRAIN, reason)


@pytest.mark.parametrize(
    ("addition", "reason"),
    [("", "was started again and again and got no further"), (DEATH, "times in a row before it got to work")],
    ids=["told to stop while it imports", "killed before it can say anything"],
)
def test_a_job_that_never_gets_on_ends_with_the_reason(
    addition: str, reason: str, slurm_cluster: DevCluster, undisturbed: Case, tmp_path: Path
) -> None:
    code = checkout(tmp_path / "code", urbanvlm__starts=addition)
    case = Case(slurm_cluster, code, tmp_path / "runs", ON_ONE_NODE)
    case.copy(undisturbed, "synthesize", "evaluate-blip2-before")
    case.submit()
    signalled: set[Path] = set()

    def has_ended() -> bool:
        for log in (case.run.jobs / TRAIN).glob("attempt-*/log-0.txt"):
            if log not in signalled and not (log.parent / "exit").exists():
                signalled.add(log)
                batch_usr2(case, TRAIN)
        return not case.queued()

    case.wait_until(has_ended, "it is started again and again", alive=False)
    status = case.status()[TRAIN]
    assert status["state"] == "failed" and 1 <= status["restarts"] <= 5, status
    assert reason in status["note"]
    assert {start.progress for start in read_starts(case.run, case.stage(TRAIN))} <= {0}


# Refused


def test_two_submits_at_once_make_one_set_of_jobs_and_this_machine_keeps_out(
    slurm_cluster: DevCluster, tmp_path: Path
) -> None:
    case = Case(slurm_cluster, checkout(tmp_path / "code"), tmp_path / "runs", profile={"sbatch": {"hold": True}})
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: case.slurm("submit", *case.submission), range(2))
    for done in (first, second):
        assert done.returncode in (0, 2)
        assert done.returncode == 0 or len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert (first.stdout + second.stdout).count("submitted as") == len(case.stages)
    jobs = slurm_cluster.run("squeue", "-h", "-o", "%F").split()
    assert sorted(set(jobs)) == sorted(case.job(stage.name) for stage in case.stages)

    arguments = case.submission
    arguments[arguments.index("--cluster") + 1] = "local"
    arguments[-1] += " resources.nodes=1 resources.processes=2"
    here = case.slurm("submit", *arguments)
    assert here.returncode == 2, here.stdout
    (line,) = here.stderr.strip().splitlines()
    assert f"is in Slurm's queue as {case.job('synthesize')}" in line and "make cancel" in line

    ended = case.slurm("cancel", case.run.id, "--output", case.output)
    assert ended.returncode == 0 and not case.queued()


@pytest.mark.parametrize(
    ("profile", "settings", "words"),
    [
        ({}, "resources.gpus_per_process=3", "3 GPUs"),
        ({"max_timeout_minutes": 10, "cpu_partition": "main"}, "resources.timeout_minutes=11", "timeout_minutes"),
        ({}, "resources.memory_gb=1000", "memory_gb"),
        ({"partition": "nowhere", "cpu_partition": "nowhere"}, "", "invalid partition specified: nowhere"),
        ({"account_required": True}, "", "account"),
        ({"sbatch": {"constraint": "x"}}, "", "constraint"),
        ({"partitoin": "main"}, "", "did you mean partition"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_run_is_refused_in_one_line(
    profile: dict[str, Any], settings: str, words: str, slurm_cluster: DevCluster, tmp_path: Path
) -> None:
    case = Case(slurm_cluster, ROOT, tmp_path / "runs", f"{ONE} {settings}", profile=profile)
    done = case.slurm("submit", *case.submission)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert words in line
    assert not slurm_cluster.run("squeue", "-h")


def test_a_machine_without_slurm(slurm_cluster: DevCluster, tmp_path: Path) -> None:
    case = Case(slurm_cluster, ROOT, tmp_path / "runs")
    command = [sys.executable, "-m", "slurm", "submit", *case.submission]
    done = slurm_cluster.call(*command, environment={"PATH": str(tmp_path)})
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "this machine has no sbatch" in line


# A bad node


def test_a_bad_node_is_left_out(slurm_cluster: DevCluster, undisturbed: Case, tmp_path: Path) -> None:
    """Its own disk is full. The other nodes are busy at first, so that the job must take it."""
    bad, _, *others = slurm_cluster.settings.node_names
    scratch = slurm_cluster.settings.local
    block = slurm_cluster.sbatch(
        f"--nodelist={','.join(others)}",
        f"--nodes={len(others)}",
        "--exclusive",
        "--output=/dev/null",
        "--wrap=sleep 900",
    )
    slurm_cluster.wait_for(block, "RUNNING")
    case = Case(slurm_cluster, undisturbed.checkout, tmp_path / "runs", profile={"node_scratch": str(scratch)})
    case.copy(undisturbed, "synthesize", "evaluate-blip2-before")
    on_node(slurm_cluster, bad, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(scratch))
    try:
        case.submit()
        job = case.job(TRAIN)
        case.wait_until(lambda: case.starts(TRAIN), "the training does not start")
        slurm_cluster.run("scancel", block)
        case.finish()
    finally:
        on_node(slurm_cluster, bad, "umount", str(scratch))
    assert case.result() == undisturbed.result()
    assert f"ExcNodeList={bad}" in slurm_cluster.run("scontrol", "show", "job", job)
    assert bad in (case.run.jobs / TRAIN / f"attempt-{job}-0" / "requeue").read_text()
    assert case.starts(TRAIN) == 2


def on_node(cluster: DevCluster, node: str, *command: str) -> None:
    """Where the node sees its own mounts."""
    (daemon,) = (one for one in processes.find(cluster.settings, node) if one.name() == "slurmd")
    subprocess.run(["nsenter", f"--mount=/proc/{daemon.pid}/ns/mnt", "--", *command], check=True, timeout=60)
