"""The main job with real processes: undisturbed, killed at random moments, stopped by Ctrl-C, run again when done.

A small copy of the demo: the same stages, families, processes and ZeRO stage; fewer places and steps.
"""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from urbanvlm.experiment import Experiment, load_experiment
from urbanvlm.run_folder import RunFolder, fingerprint, marker_of
from urbanvlm.stages import is_done, results_of, stages_of

pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parent.parent
SMALL = (
    "data.scenes.places=40 data.scenes.examples_per_subtype=15 train.max_steps=12 train.train_batch_size=8 "
    "train.micro_batch_size=4 train.checkpoint_every_steps=3 train.validate_every_steps=6 train.warmup_steps=2 "
    "train.log_every_steps=1 train.validation_examples=16 evaluate.batch_size=8 evaluate.bootstrap_resamples=50"
)
KILLS = 5
SCORE_KEYS = (
    "model phase images profile level name average value low high scored asked unparsed_share blind_baseline "
    "out_of_range_share lift"
).split()


def command(output: Path, verb: str = "submit") -> list[str]:
    settings = f"{SMALL} output={output}"
    return [sys.executable, "-m", "slurm", verb, "experiments/demo.yaml", "--set", settings]


def experiment(output: Path) -> Experiment:
    return load_experiment(ROOT / "experiments" / "demo.yaml", [*SMALL.split(), f"output={output}"])


def finish(output: Path, umask: int = -1) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(output), cwd=ROOT, capture_output=True, text=True, timeout=600, umask=umask)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def kill_everything(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the process and all below it, the way a power cut would: nobody gets to clean up."""
    top = psutil.Process(process.pid)
    for one in (top, *top.children(recursive=True)):
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


def finished_stages(output: Path) -> dict[str, tuple[int, ...]]:
    """Name of every finished stage -> when its markers were written."""
    it = experiment(output)
    run = RunFolder.of(it)
    return {
        stage.name: tuple(marker_of(path).stat().st_mtime_ns for path in results_of(run, it, stage))
        for stage in stages_of(it)
        if is_done(run, it, stage)
    }


def exports(output: Path) -> dict[str, str]:
    it = experiment(output)
    return {m.label: fingerprint(RunFolder.of(it).train(m.label) / "export" / "model.safetensors") for m in it.models}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    output = tmp_path_factory.mktemp("undisturbed")
    return output, finish(output, umask=0o002).stdout


def test_every_stage_finishes_and_the_end_shows_one_table(undisturbed: tuple[Path, str]) -> None:
    output, shown = undisturbed
    it = experiment(output)
    run = RunFolder.of(it)
    assert all(is_done(run, it, stage) for stage in stages_of(it))
    table = shown[shown.rindex("metric  ") - 300 :]
    for word in ("blind", "blip2", "instructblip", "llava", "report.md", "scores.json", "tensorboard"):
        assert word in table
    for folder in (run.path / "tensorboard").iterdir():
        assert list(folder.glob("events.*"))


def test_a_group_may_use_all_that_a_run_writes(undisturbed: tuple[Path, str]) -> None:
    run = RunFolder.of(experiment(undisturbed[0]))
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (run.path, *run.path.rglob("*"))}
    # Of a mask of 002: the group may read whatever the owner may, and add to and remove from every folder.
    closed = {
        path: mode for path, mode in modes.items() if mode & 0o040 == 0 or (path.is_dir() and mode & 0o070 != 0o070)
    }
    assert closed == {}
    assert {mode for path, mode in modes.items() if path.suffix == ".safetensors"} == {0o664}


def test_scores_have_the_schema_that_other_programs_read(undisturbed: tuple[Path, str]) -> None:
    output, _ = undisturbed
    scores = json.loads(RunFolder.of(experiment(output)).scores.read_text())
    shown = (("blip2", "real"), ("blip2", "blank"), ("instructblip", "real"), ("llava", "real"))
    assert {(s["model"], s["phase"], s["images"]) for s in scores} == {
        (model, phase, images) for model, images in shown for phase in ("before", "after")
    }
    for score in scores:
        assert list(score) == SCORE_KEYS
        assert score["profile"] == "strict" and 0 <= score["scored"] <= score["asked"]
        assert 0 <= score["unparsed_share"] <= 1
        if score["asked"]:
            assert score["value"] is not None and score["blind_baseline"] is not None


def test_a_finished_run_is_not_run_again(undisturbed: tuple[Path, str]) -> None:
    output, _ = undisturbed
    run = RunFolder.of(experiment(output))
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.is_file()}
    shown = finish(output).stdout
    assert shown.count("done") >= len(stages_of(experiment(output)))
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.is_file()} == before


def test_a_changed_yaml_is_a_new_run_and_no_overwrite(undisturbed: tuple[Path, str]) -> None:
    output, _ = undisturbed
    changed = [*command(output, "plan")[:-1], f"{SMALL} output={output} seed=8"]
    done = subprocess.run(changed, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and experiment(output).run_id not in done.stdout


def test_killed_at_random_moments_it_ends_with_the_same_scores(undisturbed: tuple[Path, str], tmp_path: Path) -> None:
    reference, _ = undisturbed
    run = RunFolder.of(experiment(reference))
    duration = marker_of(run.report).stat().st_mtime - run.inputs_file.stat().st_mtime
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    print(f"kill moments from seed {seed}")
    finished: dict[str, tuple[int, ...]] = {}
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        # Five such waits are three quarters of a run at most: each kill meets a run that is not finished.
        time.sleep(duration * chance.uniform(0.03, 0.15))
        assert process.poll() is None, process.stderr and process.stderr.read()
        kill_everything(process)
        now = finished_stages(tmp_path)
        assert {name: now[name] for name in finished} == finished, "a finished stage was done again"
        finished = now
    finish(tmp_path)
    scores, expected = (RunFolder.of(experiment(output)).scores.read_bytes() for output in (tmp_path, reference))
    assert scores == expected
    assert exports(tmp_path) == exports(reference)


def test_a_second_submit_is_refused_while_the_first_lives_and_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    first = subprocess.Popen(
        command(tmp_path),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        run = RunFolder.of(experiment(tmp_path))
        deadline = time.monotonic() + 60
        while not run.lock.exists() or len(psutil.Process(first.pid).children(recursive=True)) < 2:
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.1)
        written = run.experiment_file.read_bytes()
        others = [*command(tmp_path)[:-1], f"{SMALL} output={tmp_path} resources.memory_gb=9"]
        second = subprocess.run(others, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert run.experiment_file.read_bytes() == written, "a refused submit changed what the jobs read"
        assert second.returncode == 2
        assert f"process {first.pid}" in second.stderr and len(second.stderr.strip().splitlines()) == 1
        everyone = psutil.Process(first.pid).children(recursive=True)
        os.killpg(first.pid, signal.SIGINT)
        _, errors = first.communicate(timeout=60)
        assert first.returncode == 130 and "goes on from here" in errors and "Traceback" not in errors
        _, alive = psutil.wait_procs(everyone, timeout=60)
        assert alive == [] and not run.lock.exists()
    finally:
        if first.poll() is None:
            kill_everything(first)


def test_jobs_end_when_only_their_submitter_is_killed(tmp_path: Path) -> None:
    first = subprocess.Popen(command(tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(everyone := psutil.Process(first.pid).children(recursive=True)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(2)
    first.kill()
    first.wait()
    _, alive = psutil.wait_procs(everyone, timeout=60)
    assert alive == []
