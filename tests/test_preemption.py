"""Asked to stop: heard at any moment, saved at the next boundary, gone on from there with the same bits."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from train_support import ROOT, finish, make_questions, make_run, metrics, start

from urbanvlm.evaluate.predict import predict
from urbanvlm.progress import Progress
from urbanvlm.run_folder import RunFolder, completion_facts, fingerprint, is_complete
from urbanvlm.runtime.preemption import LEAD_SECONDS, NEVER, Stopped, StopSignal
from urbanvlm.stages import Process, Stage, checkpoint_save_seconds, progress_of, run_stage
from urbanvlm.starts import Start, is_stalled, read_starts, record_start, stalled, starts_file

TRAINING = Stage("train", "llava")
EVALUATION = Stage("evaluate", "llava", "before")

LISTENER = """
import sys, time
from pathlib import Path
print("imports", flush=True)
sys.stdin.readline()
from urbanvlm.runtime.preemption import StopSignal
stop = StopSignal.listen(Path(sys.argv[1]), None)
print("listens", flush=True)
while not (reason := stop.reason()):
    time.sleep(0.01)
print(reason, flush=True)
"""

TRAININGS = """
import json, os, signal, sys, time
from pathlib import Path
from urbanvlm.progress import Progress
from urbanvlm.run_folder import RunFolder
from urbanvlm.runtime.preemption import Stopped, StopSignal
from urbanvlm.stages import Process, Stage, progress_of, run_stage

rank, world_size = map(int, sys.argv[2:4])
update = Progress.update
asked = None

def update_and_ask(self, done, **more):
    update(self, done, **more)
    if asked and "loss" in more and rank == asked[1] and done == asked[2]:
        if asked[0] == "file":
            (attempt / "stop").write_text("told to stop by the host")
            time.sleep(1.5)  # the file is looked at once a second; without it, a fast machine is through by then
        else:
            os.kill(os.getpid(), getattr(signal, asked[0]))

Progress.update = update_and_ask
for number, (folder, asked) in enumerate(json.loads(sys.argv[4])):
    run, stage, process = RunFolder(Path(folder)), Stage("train", "llava"), Process(rank, rank, world_size)
    attempt = run.path / f"attempt-{number}"
    attempt.mkdir(exist_ok=True)
    os.environ["URBANVLM_RENDEZVOUS"] = str(attempt / "rendezvous")
    stop = StopSignal.listen(attempt, None)
    try:
        run_stage(run, stage, process, stop)
        end = "done"
    except Stopped as stopped:
        end = str(stopped)
    at = progress_of(run, run.experiment, stage, process)
    (run.path / f"end-{number}-{rank}.json").write_text(json.dumps([end, at]))
"""


class Asked(StopSignal):
    """Answers None so many times, then a reason."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self._left = patience

    def reason(self) -> str | None:
        self._left -= 1
        return None if self._left >= 0 else "enough"


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    make_questions(folder)
    return folder


class TestStopSignal:
    @pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
    def test_a_signal_while_listening_is_heard_and_nobody_dies(self, number: signal.Signals, tmp_path: Path) -> None:
        process = listener(tmp_path)
        said(process, "imports")
        tell(process, "go on")
        said(process, "listens")
        process.send_signal(number)
        said(process, f"told to stop ({number.name})")
        assert process.wait() == 0

    def test_a_signal_during_imports_kills_nobody_and_the_file_speaks_for_it(self, tmp_path: Path) -> None:
        process = listener(tmp_path)
        said(process, "imports")
        process.send_signal(signal.SIGUSR2)
        process.send_signal(signal.SIGTERM)
        (tmp_path / "stop").write_text("USR2 from Slurm\n")
        tell(process, "go on")
        said(process, "listens")
        said(process, "USR2 from Slurm")
        assert process.wait() == 0

    def test_the_first_reason_stays(self, tmp_path: Path) -> None:
        stop = StopSignal(tmp_path)
        (tmp_path / "stop").write_text("first")
        assert stop.reason() == "first"
        (tmp_path / "stop").write_text("second")
        stop._looked = float("-inf")
        assert stop.reason() == "first"

    def test_an_empty_file_is_a_reason_too(self, tmp_path: Path) -> None:
        (tmp_path / "stop").touch()
        assert StopSignal(tmp_path).reason() == "told to stop"

    def test_nobody_outside_a_job_is_stopped(self) -> None:
        NEVER.need(1e9)
        assert NEVER.reason() is None
        assert StopSignal(Path("/no/such/attempt")).reason() is None

    @pytest.mark.parametrize("seconds", [3600.0, 600.0, 130.0, 60.0, 5.0, 0.2])
    def test_the_clock_leaves_at_least_half_of_the_time_for_work(
        self, seconds: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = time.time()
        monkeypatch.setattr(time, "time", lambda: begun)
        stop = StopSignal(None, begun + seconds)
        assert heard_after(stop, begun, monkeypatch) == pytest.approx(seconds - min(LEAD_SECONDS, seconds / 2), abs=0.1)

    @pytest.mark.parametrize(
        ("seconds", "saving", "step", "left"),
        [
            (86400, 300, 10, 2 * 300 + 10 + 15),  # a large model
            (86400, 1, 1, 60),  # a small one: the default is more
            (60, 0.2, 0.1, 30),  # a minute: half of it
            (400, 150, 10, 200),  # saving twice would be more than half
            (400, 250, 10, 275),  # not even once fits into half: what must be, must be
        ],
    )
    def test_what_was_measured_decides_how_early(
        self, seconds: float, saving: float, step: float, left: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = time.time()
        monkeypatch.setattr(time, "time", lambda: begun)
        stop = StopSignal(None, begun + seconds)
        stop.need(saving, step)
        stop.need(0.0)  # a smaller need later does not take it back
        assert seconds - heard_after(stop, begun, monkeypatch) == pytest.approx(left, abs=0.5)

    def test_a_limit_that_is_over_is_heard_at_once(self) -> None:
        assert StopSignal(None, time.time() - 1).reason() == "time limit near"


def heard_after(stop: StopSignal, begun: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds after which `reason` says so, by a clock that is ours."""
    low, high = 0.0, stop._end_time - begun if stop._end_time is not None else 0.0
    for _ in range(40):
        middle = (low + high) / 2
        monkeypatch.setattr(time, "time", lambda now=begun + middle: now)
        if stop.reason() is None:
            low = middle
        else:
            assert stop.reason() == "time limit near"
            stop._reason = None
            high = middle
    return high


def listener(attempt: Path) -> subprocess.Popen[str]:
    """Started as a batch script does it: the signals are ignored until somebody listens."""
    return subprocess.Popen(
        ["sh", "-c", "trap '' USR2 TERM; exec \"$@\"", "sh", sys.executable, "-c", LISTENER, str(attempt)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def said(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


class TestTraining:
    """Two ranks, of which one is told: by a signal after a random step, by the host's file; then to the end."""

    def test_stopped_at_random_steps_it_ends_with_the_same_bits(self, questions: Path, tmp_path: Path) -> None:
        settings = {"max_steps": 10, "checkpoint_every_steps": 4, "validate_every_steps": 3}
        whole, run = (make_run(tmp_path / name, questions, **settings) for name in ("whole", "stopped"))
        first, second = sorted(random.sample(range(1, 9), 2))
        number, who = random.choice(["SIGUSR2", "SIGTERM"]), random.randrange(2)
        print(f"{number} to rank {who} after step {first}, the file after step {second}")
        assert progress_of(run, run.experiment, TRAINING, Process()) == 0
        assert checkpoint_save_seconds(run, "llava") is None
        # One pair of processes for all of it: that new ones go on as well is what the tests of kill -9 show.
        asked = [(number, who, first), ("file", 1 - who, second), None]
        plan = [(str(whole.path), None), *((str(run.path), one) for one in asked)]
        finish(start(run, TRAININGS, json.dumps(plan)))

        # The second process has ended before the first one has exported: how far it saw the training means nothing.
        assert ends(whole, 0)[0] == ["done", 11]
        assert ends(run, 1) == [[f"told to stop ({number})", first]] * 2, "one was told, both have stopped"
        (one, reached), other = ends(run, 2)
        # The file is looked at once a second, so the step is not known.
        assert one == "told to stop by the host" and second <= reached <= 10 and other == [one, reached]
        assert ends(run, 3)[0] == ["done", 11]

        exports = [r.train("llava") / "export" / "model.safetensors" for r in (whole, run)]
        assert fingerprint(exports[1]) == fingerprint(exports[0])
        figures = ("step", "loss", "grad_norm", "validation_loss")
        before, after = ([[row.get(name) for name in figures] for row in metrics(r)] for r in (whole, run))
        assert after == before
        assert completion_facts(run.train("llava")) == completion_facts(whole.train("llava"))
        kept = sorted((run.train("llava") / "checkpoints").iterdir())
        assert len(kept) == 2 and kept[-1].name == "step-00000010"
        seconds = checkpoint_save_seconds(run, "llava")
        assert seconds == max(completion_facts(folder)["save_seconds"] for folder in kept)
        assert not (run.train("llava") / "LOCK").exists()

    def test_a_checkpoint_that_says_nothing_of_its_saving_is_passed_over(self, questions: Path, tmp_path: Path) -> None:
        run = make_run(tmp_path / "run", questions)
        for step, facts in ((2, '{"files": {}}'), (4, '{"save_seconds": 1.5}'), (6, "torn {"), (8, None)):
            folder = run.train("llava") / "checkpoints" / f"step-{step:08d}"
            folder.mkdir(parents=True)
            if facts is not None:
                (folder / "COMPLETE").write_text(facts)
        assert checkpoint_save_seconds(run, "llava") == 1.5
        assert progress_of(run, run.experiment, TRAINING, Process()) == 6


def ends(run: RunFolder, number: int) -> list[list[object]]:
    """How that start ended in each process: why, and how far it was by then."""
    return [json.loads((run.path / f"end-{number}-{rank}.json").read_text()) for rank in range(2)]


class TestEvaluation:
    def test_stopped_between_any_two_batches_it_ends_with_the_same_bytes(self, questions: Path, tmp_path: Path) -> None:
        whole, run = (make_run(tmp_path / name, questions, evaluate={"batch_size": 3}) for name in ("whole", "run"))
        predict(whole, whole.experiment.models[0], "before", 0, Progress(None, total=0, unit=""))
        counts = []
        for _ in range(9):
            try:
                # Asked for the lock, before the model is loaded and before the first batch; then it stops.
                run_stage(run, EVALUATION, Process(), Asked(2))
            except Stopped:
                counts.append(progress_of(run, run.experiment, EVALUATION, Process()))
            else:
                break
        assert counts == [3, 6, 9]
        assert progress_of(run, run.experiment, EVALUATION, Process()) == 11
        files = [one.shard_file("llava", "before", 0) for one in (whole, run)]
        assert is_complete(files[1]) and files[1].read_bytes() == files[0].read_bytes()

    def test_told_before_it_begins_it_loads_nothing(self, questions: Path, tmp_path: Path) -> None:
        model = {"family": "llava", "checkpoint": str(tmp_path / "there is none")}
        run = make_run(tmp_path / "run", questions, model=model)
        with pytest.raises(Stopped, match="enough"):
            predict(run, run.experiment.models[0], "before", 0, Progress(None, total=0, unit=""), Asked(0))

    def test_each_process_counts_its_own_shards(self, questions: Path, tmp_path: Path) -> None:
        run = make_run(tmp_path / "run", questions, evaluate={"shards": 3})
        predict(run, run.experiment.models[0], "before", 2, Progress(None, total=0, unit=""))
        counts = [progress_of(run, run.experiment, EVALUATION, Process(rank, 0, 3)) for rank in range(3)]
        assert counts == [0, 0, 5]  # the last of ten in three parts, and its marker


class TestStarts:
    @pytest.mark.parametrize(
        ("progress", "now", "is_so"),
        [
            ([], 0, False),
            ([0], 0, False),
            ([0, 0], 0, False),
            ([0, 0, 0], 0, True),
            ([0, 0, 0], 1, False),
            ([0, 5, 5, 5], 5, True),
            ([5, 5, 5, 6], 6, False),
            ([5, 0, 5, 5], 5, False),
        ],
    )
    def test_so_many_starts_without_getting_on_are_enough(self, progress: list[int], now: int, is_so: bool) -> None:
        starts = [Start("7", None, number, value, 0.0) for number, value in enumerate(progress)]
        assert stalled(starts, now, 3) is is_so

    def test_each_job_and_each_element_is_judged_by_its_own_starts(self, questions: Path, tmp_path: Path) -> None:
        run = make_run(tmp_path / "run", questions)
        for restart in range(3):
            record_start(run, EVALUATION, Process(0, 0, 2), "11", restart, 4)
            record_start(run, EVALUATION, Process(1, 0, 2), "11", restart, restart)
        assert is_stalled(run, EVALUATION, Process(0, 0, 2), "11", 4, 3)
        assert not is_stalled(run, EVALUATION, Process(0, 0, 2), "11", 5, 3)
        assert not is_stalled(run, EVALUATION, Process(1, 0, 2), "11", 2, 3)
        assert not is_stalled(run, EVALUATION, Process(0, 0, 2), "12", 4, 3), "submitted anew, it may try again"
        assert not is_stalled(run, TRAINING, Process(), "11", 4, 3)
        assert [start.element for start in read_starts(run, EVALUATION)] == [0, 1] * 3

    def test_a_torn_line_costs_only_itself(self, questions: Path, tmp_path: Path) -> None:
        run = make_run(tmp_path / "run", questions)
        record_start(run, TRAINING, Process(), "1", 0, 0)
        with starts_file(run, TRAINING).open("a") as file:
            file.write('{"job_id": "1", "ele')
        record_start(run, TRAINING, Process(), "1", 1, 8)
        assert [(start.restart, start.progress, start.element) for start in read_starts(run, TRAINING)] == [
            (0, 0, None),
            (1, 8, None),
        ]

    def test_elements_that_start_at_once_lose_no_line(self, questions: Path, tmp_path: Path) -> None:
        run = make_run(tmp_path / "run", questions)
        code = """
import sys; from pathlib import Path; from urbanvlm.run_folder import RunFolder
from urbanvlm.stages import Process, Stage; from urbanvlm.starts import record_start
for n in range(50):
    record_start(RunFolder(Path(sys.argv[1])), Stage("evaluate", "m", "after"), Process(int(sys.argv[2])), "1", n, n)
"""
        children = [subprocess.Popen([sys.executable, "-c", code, run.path, str(k)], cwd=ROOT) for k in range(3)]
        assert [child.wait() for child in children] == [0, 0, 0]
        starts = read_starts(run, Stage("evaluate", "m", "after"))
        assert sorted((s.element, s.restart) for s in starts) == [(k, n) for k in range(3) for n in range(50)]


def test_what_asks_for_progress_is_light() -> None:
    code = """
import json, sys
from pathlib import Path
from urbanvlm.experiment import load_experiment
from urbanvlm.run_folder import RunFolder
from urbanvlm.runtime.preemption import StopSignal
from urbanvlm.stages import Process, checkpoint_save_seconds, progress_of, stages_of
import urbanvlm.starts
experiment = load_experiment(Path("experiments/demo.yaml"))
run = RunFolder.of(experiment)
for stage in stages_of(experiment):
    progress_of(run, experiment, stage, Process())
    checkpoint_save_seconds(run, stage.model)
print(json.dumps([name for name in ("torch", "numpy", "PIL", "transformers") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
