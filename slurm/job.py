"""What a task runs inside a job: it opens the run folder and does its share of one stage. torch comes late."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from urbanvlm.disk import mistake_of
from urbanvlm.errors import UserError
from urbanvlm.lock import birth_of, process_alive
from urbanvlm.locks import IMAGE_VARIABLE, check_image
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder
from urbanvlm.runtime.launchers import forget_others, torchrun_ranks
from urbanvlm.runtime.preemption import STOPPED_EXIT_CODE, Stopped, StopSignal
from urbanvlm.stages import Process, Stage, progress_of, results_of, run_stage, stages_of
from urbanvlm.starts import FRUITLESS_REQUESTS, FRUITLESS_STARTS, is_stalled, record_start
from urbanvlm.terminal import use_plain_signs
from urbanvlm.user import settle_user

CAUSE_SECONDS = 5.0
LEADER_SECONDS = 20.0
ROOM_BYTES = 4096
SUBMITTER = "URBANVLM_SUBMITTER"
"""`<pid>:<birth>` of a submitter that stays: local jobs end with it."""
CLIENT = "URBANVLM_CLIENT"
"""`<pid>` of the client of docker or podman that started this container, which is not its child, and outlives it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do this task's share of a stage: `RUN STAGE [--shard K]`.

    The task's rank comes from Slurm or submitit's local executor where `submit` started it, else from torchrun if that
    did.

    Exit code 0 when done; 75 when the stage has saved and stopped because it was told to, in which case the first rank
    leaves the file `requeue` in the attempt's folder; 2 after a user's mistake, which stands in `error-<rank>` there; 1
    after a bug, whose traceback stands in `crash-<rank>`.
    """
    use_plain_signs()
    settle_user(os.environ)
    attempt = Path(os.environ["URBANVLM_ATTEMPT"]) if "URBANVLM_ATTEMPT" in os.environ else None
    end_time = os.environ.get("URBANVLM_END_TIME")
    stop = StopSignal.listen(attempt, float(end_time) if end_time else None)
    parser = argparse.ArgumentParser(prog="python -m slurm.job", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("stage", help="the stage's name, such as train-llava")
    parser.add_argument("--shard", type=int, help="of an evaluation: this shard only")
    options = parser.parse_args(arguments)
    _end_with_starter()
    run = RunFolder(options.run.absolute())
    process = Process()
    try:
        process = _process(run, options.shard)
        _keep_room(attempt, process.rank)
        check_image()
        _do(run, _stage(run, options.stage), process, stop, attempt)
    except Stopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return STOPPED_EXIT_CODE
    except UserError as error:
        _tell(attempt, f"error-{process.rank}", f"{error}\n")
        return 2
    except Exception as error:
        trace = traceback.format_exc()
        if "URBANVLM_JOB" in os.environ and _lost_container():
            _tell(attempt, f"lost-{process.rank}", trace)
        elif (mistake := mistake_of(error, run.path, *_scratch())) is not None:
            _tell(attempt, f"error-{process.rank}", f"{mistake}\n")
            return 2
        elif process.world_size > 1 and options.shard is None and "URBANVLM_JOB" in os.environ and _lost_peer(error):
            _await_cause(stop)
            _tell(attempt, f"lost-{process.rank}", trace)
        else:
            # The other ranks may wait for this one in a collective: the launcher ends them when it sees this.
            _tell(attempt, f"crash-{process.rank}", trace)
        return 1
    finally:
        if attempt is not None:
            with suppress(OSError):
                _room(attempt, process.rank).unlink(missing_ok=True)
    return 0


def _do(run: RunFolder, stage: Stage, process: Process, stop: StopSignal, attempt: Path | None) -> None:
    """Run the stage. What Slurm starts again and again must get on, or it ends with the reason."""
    job_id, restart = os.environ.get("URBANVLM_JOB"), int(os.environ.get("URBANVLM_RESTART", "0"))
    leads = process.rank == 0 or stage.kind == "evaluate"
    if job_id and leads:
        before = progress_of(run, run.experiment, stage, process)
        record_start(run, stage, process, job_id, restart, before)
        _check_moving(run, stage, process, job_id, before, FRUITLESS_STARTS)
    try:
        run_stage(run, stage, process, stop)
        if leads:
            # The work is done, whether the log takes its word or not.
            with suppress(OSError, UnicodeError):
                print(f"{stage.name} is done: {', '.join(map(str, _written(run, stage, process)))}", flush=True)
    except Stopped as stopped:
        if job_id and leads:
            after = progress_of(run, run.experiment, stage, process)
            _check_moving(run, stage, process, job_id, after, FRUITLESS_REQUESTS)
        if attempt is not None and leads:
            write_atomic(attempt / "requeue", f"{stopped}\n")
        elif attempt is not None:
            _await_leader(attempt)
        raise


def _written(run: RunFolder, stage: Stage, process: Process) -> tuple[Path, ...]:
    """What this process has left behind, for who reads its log."""
    results = results_of(run, run.experiment, stage)
    if stage.kind == "evaluate":
        return results[process.rank :: process.world_size]
    return (*results, run.page) if stage.kind == "report" else results


def _await_leader(attempt: Path) -> None:
    """The first task to leave makes srun end the others: not before the first rank has said what is to come."""
    deadline = time.monotonic() + LEADER_SECONDS
    while time.monotonic() < deadline and not any((attempt / name).exists() for name in ("requeue", "error-0", "exit")):
        time.sleep(0.2)


def _check_moving(run: RunFolder, stage: Stage, process: Process, job_id: str, progress: int, most: int) -> None:
    if is_stalled(run, stage, process, job_id, progress, most):
        raise UserError(
            f"job {stage.name}",
            "was started again and again and got no further",
            "see its logs; a longer resources.timeout_minutes or more frequent checkpoints may help",
        )


def _stage(run: RunFolder, name: str) -> Stage:
    stages = stages_of(run.experiment)
    for stage in stages:
        if stage.name == name:
            return stage
    raise UserError(f"stage {name!r}", f"is not one of {run.id}", f"choose from: {', '.join(s.name for s in stages)}")


def _process(run: RunFolder, shard: int | None) -> Process:
    """Our own launch decides; what other programs left in the environment is gone afterwards."""
    is_ours = {"URBANVLM_ATTEMPT", "SUBMITIT_EXECUTOR"} <= os.environ.keys()
    ranks = None if is_ours else torchrun_ranks(os.environ)
    forget_others(os.environ, is_torchrun=ranks is not None)
    if shard is not None:
        return Process(shard, 0, run.experiment.evaluate.shards)
    if not is_ours:
        return Process(*ranks or ())
    from submitit import JobEnvironment

    environment = JobEnvironment()
    return Process(environment.global_rank, environment.local_rank, environment.num_tasks)


def _tell(attempt: Path | None, name: str, text: str) -> None:
    """To whoever reads the log, and in the attempt's folder to whoever waits for the job."""
    with suppress(OSError):
        print(text, file=sys.stderr, end="", flush=True)
    if attempt is None:
        return
    try:
        write_atomic(attempt / name, text)
    except OSError:
        # The disk is full: the room that was kept takes the end of it, and needs no more to be given its name.
        room = _room(attempt, int(name.rpartition("-")[2]))
        with suppress(OSError), room.open("r+b") as file:
            file.write(text.encode()[-ROOM_BYTES:])
            file.truncate()
            room.replace(attempt / name)


def _keep_room(attempt: Path | None, rank: int) -> None:
    """For why this task ends, where its disk is full by then."""
    if attempt is not None:
        with suppress(OSError):
            _room(attempt, rank).write_bytes(b" " * ROOM_BYTES)


def _room(attempt: Path, rank: int) -> Path:
    return attempt / f".room-{rank}"


def _scratch() -> tuple[Path, ...]:
    """Where libraries keep what they write for a while; where there is none, that may be why."""
    with suppress(OSError):
        return (Path(tempfile.gettempdir()),)
    return ()


def _lost_container() -> bool:
    """Slurm's signals may have ended the process that Apptainer's files come from: then nothing of them can be read."""
    if IMAGE_VARIABLE not in os.environ:
        return False
    try:
        Path(os.environ[IMAGE_VARIABLE]).read_bytes()
    except OSError:
        return True
    return False


def _lost_peer(error: Exception) -> bool:
    from urbanvlm.runtime.process_group import is_lost_peer

    return is_lost_peer(error)


def _await_cause(stop: StopSignal) -> None:
    """Let the process whose end broke the others' collective be the first that Slurm hears of.

    If it died of its own fault, Slurm ends this one with a SIGTERM meanwhile, and nobody may ask for another start. A
    node that is gone says nothing.
    """
    deadline = time.monotonic() + CAUSE_SECONDS
    while time.monotonic() < deadline:
        if stop.reason() is not None:
            raise SystemExit(1)
        time.sleep(0.2)


def _end_with_starter() -> None:
    """A local job must not outlive the command that shows it: the next one would meet a writer it cannot see.

    Nor must a task outlive the client that started its container, which is all that Slurm, or that command, can end.
    """
    starters = []
    if SUBMITTER in os.environ:
        pid, _, born = os.environ[SUBMITTER].partition(":")
        starters.append((int(pid), born))
    if CLIENT in os.environ:
        client = int(os.environ[CLIENT])
        starters.append((client, birth_of(client) or "gone"))
    if not starters:
        return

    def watch() -> None:
        while all(process_alive(pid, born) is not False for pid, born in starters):
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    # A group of its own, so that the workers a stage starts end as well; what a container begins with has one.
    if os.getpgrp() != os.getpid():
        os.setpgrp()
    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
