"""Slurm's answers: what is made of them, and that a real Slurm gives them so."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from slurm_support import DevCluster

from slurm import queue
from slurm.cluster import Cluster
from slurm.plan import make_plan
from slurm.queue import WIDTHS, EndedJob, QueuedJob, parse_sacct, parse_squeue
from slurm.submission import Submission, queue_ids, read_submission, write_submission
from slurm.submit import check_arrays
from urbanvlm.errors import UserError
from urbanvlm.experiment import load_experiment
from urbanvlm.run_folder import RunFolder

ROOT = Path(__file__).parent.parent


def squeue_line(*values: str) -> str:
    """As squeue pads and cuts its columns."""
    return "".join(value[:width].ljust(width) for value, width in zip(values, WIDTHS.values(), strict=True))


def stand_in(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is not Slurm's, for what a healthy Slurm never does."""
    program = folder / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    if str(program.parent) not in os.environ["PATH"].split(os.pathsep):
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


# ---- parsing --------------------------------------------------------------------------------------------------------


def test_squeue_rows_keep_empty_columns_and_reasons_with_any_sign() -> None:
    reason = "ReqNodeNotAvail, UnavailableNodes:gpu[01-02]|x"
    text = "\n".join(
        [
            "CLUSTER: alpha",
            squeue_line("7_3", "PENDING", "2", "2031-05-01T10:00:00", "N/A", "0", "", reason),
            squeue_line("8", "RUNNING", "0", "2031-05-01T10:00:00", "2031-05-01T12:00:00", "0", "gpu[01-02]", "None"),
            "",
        ]
    )
    waiting, running = parse_squeue(text)
    assert (waiting["JobArrayID"], waiting["NodeList"], waiting["Reason"]) == ("7_3", "", reason)
    assert (running["RestartCnt"], running["NodeList"]) == ("0", "gpu[01-02]")


def test_elements_that_never_started_stand_in_one_row() -> None:
    for text, elements in {
        "12": ["12"],
        "12_3": ["12_3"],
        "12_[0-2,5%4]": ["12_0", "12_1", "12_2", "12_5"],
        "12_[4]": ["12_4"],
        "12_[0-4:2,9]": ["12_0", "12_2", "12_4", "12_9"],
        "12_[0-1,7-...]": ["12_0", "12_1"],
        "12.batch": [],
        "CLUSTER: 12": [],
        "": [],
    }.items():
        assert queue.expand(text) == elements


def test_sacct_rows_of_jobs_that_have_ended() -> None:
    text = "\n".join(
        [
            "11|CANCELLED by 1000|0:0|None",
            "12|NODE_FAIL|1:0|None",
            "12|COMPLETED|0:0|None",
            "13_0|OUT_OF_MEMORY|0:125|None",
            "13_[1-3%2]|PENDING|0:0|Resources",
            "13_[4-5]|CANCELLED by 0|0:0|None",
            "14|RUNNING|0:0|None",
            "15|FAILED|2:0|NonZeroExitCode",
            "",
        ]
    )
    found = parse_sacct(text)
    assert {job_id: job.state for job_id, job in found.items()} == {
        "11": "CANCELLED",
        "12": "COMPLETED",
        "13_0": "OUT_OF_MEMORY",
        "13_4": "CANCELLED",
        "13_5": "CANCELLED",
        "15": "FAILED",
    }
    assert found["15"] == EndedJob("15", "FAILED", 2, 0, "NonZeroExitCode")
    assert found["15"].words == "FAILED, exit code 2"


def test_a_submission_is_read_back_and_names_its_elements(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert read_submission(run, "train-llava") is None
    for elements, index, ids in ((None, None, ("12",)), (3, None, ("12_0", "12_1", "12_2")), (None, 4, ("12_4",))):
        submission = Submission("12", elements, index, "alpha", 1.5)
        write_submission(run, "train-llava", submission)
        assert read_submission(run, "train-llava") == submission
        assert queue_ids(submission) == ids


# ---- where there is no Slurm, or it does not answer -----------------------------------------------------------------


def test_no_slurm_on_this_machine_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not queue.is_available()
    with pytest.raises(UserError, match="this machine has no sbatch; go to a login node of the cluster"):
        queue.sbatch(tmp_path / "job.sbatch")
    with pytest.raises(UserError, match="no squeue"):
        queue.jobs(["1"])
    assert "no sbatch" in queue.expected_start(tmp_path / "job.sbatch")
    assert queue.jobs([]) == {} and queue.ended([]) == {}, "nothing asked, nobody needed"


def test_a_client_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "squeue", 'echo $$ > "$0.pid"; exec sleep 1000', monkeypatch)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.setattr(queue, "QUERY_SECONDS", 0.5)
    with pytest.raises(UserError, match="squeue got no answer in 0 s; `scontrol ping`"):
        queue.jobs(["1"])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "bin" / "squeue.pid").read_text()), 0)


def test_what_is_at_its_end_is_waited_for_until_it_shows_what_becomes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array of which some elements still run is in the queue, whatever others are doing."""

    def seen(**states: str) -> dict[str, QueuedJob]:
        return {one[1:]: QueuedJob(one[1:], state, "", 0, None, None, "n1") for one, state in states.items()}

    answers = iter([seen(_1="COMPLETING", _2_0="COMPLETING", _2_1="RUNNING"), seen(_1="PENDING", _2_1="COMPLETING")])
    last = seen(_1="PENDING")
    monkeypatch.setattr(queue, "jobs", lambda ids: next(answers, last) if set(ids) else {})
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert queue.settled([("1",), ("2_0", "2_1")]) == last
    last = seen(_1="COMPLETING")
    monkeypatch.setattr(queue, "ENDING_SECONDS", -1.0)
    with pytest.raises(UserError, match="job 1: is still ending on n1; try again when"):
        queue.settled([("1",)])


def test_a_configuration_that_is_not_there_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "squeue", "sleep 60", monkeypatch)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    with pytest.raises(UserError, match="there is no such file"):
        queue.jobs(["1"])


def test_what_the_user_set_for_clients_does_not_reach_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "squeue", 'env > "$0.env"', monkeypatch)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    for name in ("SBATCH_WAIT", "SBATCH_PARTITION", "SLURM_NTASKS", "SQUEUE_FORMAT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CLUSTERS", "alpha")
    assert queue.jobs(["77"]) == {}
    seen = (tmp_path / "bin" / "squeue.env").read_text()
    assert set(re.findall(r"^S(?:LURM|BATCH|QUEUE)_\w+", seen, re.MULTILINE)) == {
        "SLURM_BITSTR_LEN",
        "SLURM_CLUSTERS",
        "SLURM_TIME_FORMAT",
    }
    assert "LC_ALL=C" in seen.splitlines()


def test_the_expected_start_is_in_the_users_time_zone_and_a_job_gets_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "sbatch", 'echo "${TZ-none}" > "$0.zone"; echo 77', monkeypatch)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    zone = tmp_path / "bin" / "sbatch.zone"
    queue.expected_start(tmp_path / "job.sbatch")
    assert zone.read_text() == "Asia/Tokyo\n"
    queue.sbatch(tmp_path / "job.sbatch")
    assert zone.read_text() == "none\n"


@pytest.mark.parametrize(
    ("words", "what", "next_step"),
    [
        (
            "Batch job submission failed: Invalid account or account/partition combination specified",
            "Invalid account or account/partition combination specified",
            "set `account:`",
        ),
        (
            "Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
            "Requested time limit is invalid",
            "lower resources.timeout_minutes",
        ),
        (
            "QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: "
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "QOSMaxSubmitJobPerUserLimit; Job violates accounting/QOS policy",
            "wait until jobs of yours have ended",
        ),
        ("Site says: $(ask) for a project", "Site says: $(ask) for a project", ""),
    ],
)
def test_a_refusal_that_the_development_cluster_does_not_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, what: str, next_step: str
) -> None:
    (tmp_path / "words").write_text(f"sbatch: error: {words}\n")
    stand_in(tmp_path, "sbatch", f'cat "{tmp_path}/words" >&2; exit 1', monkeypatch)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    with pytest.raises(UserError) as caught:
        queue.sbatch(tmp_path / "job.sbatch")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/job.sbatch: Slurm refuses it: {what}")
    assert next_step in line


@pytest.mark.parametrize(
    ("says", "most"),
    [
        ("MaxArraySize            = 1001", 1001),
        ("MaxArraySize            = 0", 1),
        ("SchedulerParameters     = bf_interval=30,max_array_tasks=500\nMaxArraySize            = 4000001", 500),
        ("ClusterName             = alpha", None),
    ],
)
def test_how_large_an_array_may_be(
    says: str, most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "scontrol", f"echo '{says}'", monkeypatch)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    assert queue.most_elements() == most


def test_more_shards_than_an_array_may_have_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(ROOT / "experiments" / "demo.yaml", [f"output={tmp_path}", "evaluate.shards=7"])
    plan = make_plan(experiment, Cluster(name="c", executor="slurm", partition="p"))
    monkeypatch.setattr(queue, "most_elements", lambda: 7)
    assert check_arrays([plan]) == 7
    monkeypatch.setattr(queue, "most_elements", lambda: None)
    assert check_arrays([plan]) is None
    monkeypatch.setattr(queue, "most_elements", lambda: 6)
    with pytest.raises(UserError, match=r"array of 7 elements, one a shard, .* allows 6 .*; set evaluate.shards=6"):
        check_arrays([plan])


# ---- a real Slurm ---------------------------------------------------------------------------------------------------

Script = Callable[..., Path]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    def write(command: str = "sleep 300", *options: str) -> Path:
        file = tmp_path / f"job-{len(list(tmp_path.iterdir()))}.sbatch"
        lines = ["#!/bin/bash", "#SBATCH --output=/dev/null --mem=100 --time=5 --requeue"]
        file.write_text("\n".join([*lines, *(f"#SBATCH {option}" for option in options), command, ""]))
        return file

    return write


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.2)


@pytest.mark.slurm
def test_jobs_arrays_and_dependencies_until_they_are_cancelled(slurm_cluster: DevCluster, script: Script) -> None:
    assert f"MaxArraySize={queue.most_elements()}\n" in slurm_cluster.settings.slurm_conf.read_text()
    first = queue.sbatch(script())
    array = queue.sbatch(script(), array="0-3%2")
    after = queue.sbatch(script(), dependency=f"afterok:{first}")
    until(lambda: sum(job.state == "RUNNING" for job in queue.jobs([first, array]).values()) == 3)
    found = queue.jobs([first, after, *(f"{array}_{k}" for k in range(4)), "999999999", f"{array}_77"])
    assert set(found) == {first, after, *(f"{array}_{k}" for k in range(4))}
    assert set(queue.jobs([array])) == {f"{array}_{k}" for k in range(4)}, "an array's id stands for its elements"
    assert set(queue.jobs([f"{array}_1"])) == {f"{array}_1"}

    running, waiting = found[first], found[after]
    assert running.start_time and running.end_time and not running.waits and running.expected_start is None
    assert running.end_time - running.start_time == 300 and running.nodes in slurm_cluster.settings.node_names
    assert (waiting.state, waiting.reason, waiting.restarts) == ("PENDING", "Dependency", 0)
    throttled = [found[f"{array}_{k}"] for k in range(4) if found[f"{array}_{k}"].waits]
    assert {job.reason for job in throttled} == {"JobArrayTaskLimit"} and len(throttled) == 2
    assert queue.ended([first, after, array]) == {}

    queue.cancel([*found, "999999999"])
    until(lambda: not queue.jobs(found))
    assert {job.state for job in queue.ended(found).values()} == {"CANCELLED"}
    assert set(queue.ended(found)) == set(found)
    queue.cancel(found)  # Once more does no harm.
    queue.cancel([])


@pytest.mark.slurm
def test_how_a_job_ended(slurm_cluster: DevCluster, script: Script) -> None:
    ids = [queue.sbatch(script(command)) for command in ("exit 3", "kill -9 $$", "true")]
    until(lambda: not queue.jobs(ids))
    ended = queue.ended([*ids, "999999999"])
    assert {(ended[one].state, ended[one].exit_code, ended[one].signal) for one in ids[::2]} == {
        ("FAILED", 3, 0),
        ("COMPLETED", 0, 0),
    }
    assert (ended[ids[1]].state, ended[ids[1]].signal) == ("FAILED", signal.SIGKILL)
    assert "999999999" not in ended and len(ended) == 3
    assert queue.ended(["999999999"]) == queue.jobs(["999999999"]) == {}, "one alone, which squeue calls an error"


@pytest.mark.slurm
def test_a_requeued_job_counts_its_restarts_and_waits(slurm_cluster: DevCluster, script: Script) -> None:
    job_id = queue.sbatch(script())
    until(lambda: (job := queue.jobs([job_id]).get(job_id)) and job.state == "RUNNING")
    queue.requeue([job_id])
    until(lambda: queue.jobs([job_id])[job_id].state == "PENDING")
    job = queue.jobs([job_id])[job_id]
    assert (job.restarts, job.reason) == (1, "BeginTime")
    assert job.expected_start is not None and job.start_time is not None and job.start_time > time.time()


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("option", "what", "next_step"),
    [
        ("--partition=nowhere", "invalid partition specified: nowhere", "sinfo -s"),
        ("--gres=gpu:9", "Requested node configuration is not available", "GPUs, CPUs or memory"),
        ("--mem=900G", "Memory specification can not be satisfied", "resources.memory_gb"),
        ("--constraint=nosuch", "Invalid feature specification", "`constraint:`"),
    ],
)
def test_slurms_refusals_are_one_line(
    slurm_cluster: DevCluster, script: Script, option: str, what: str, next_step: str
) -> None:
    file = script("true", option)
    with pytest.raises(UserError) as caught:
        queue.sbatch(file)
    (line,) = str(caught.value).splitlines()
    assert what in line and next_step in line
    assert queue.expected_start(file).startswith("Slurm would refuse it: ")


@pytest.mark.slurm
def test_the_expected_start_in_words(slurm_cluster: DevCluster, script: Script) -> None:
    file = script("sleep 300", "--nodes=4 --exclusive")
    assert queue.expected_start(file) == "at once on node[1-4]"
    job_id = queue.sbatch(file)
    until(lambda: queue.jobs([job_id])[job_id].state == "RUNNING")
    assert re.fullmatch(r"(\w+ \d+ \w+ )?\d\d:\d\d on node\[1-4\]", queue.expected_start(file))


@pytest.mark.slurm
def test_a_controller_that_is_down_is_one_line(
    slurm_cluster: DevCluster, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = slurm_cluster.settings.slurm_conf.read_text()
    nobody = tmp_path / "slurm.conf"
    nobody.write_text(re.sub(r"SlurmctldPort=\d+", "SlurmctldPort=1", configuration))
    monkeypatch.setenv("SLURM_CONF", str(nobody))
    monkeypatch.setattr(queue, "QUERY_SECONDS", 1.0)
    with pytest.raises(UserError, match=r"scontrol ping"):
        queue.jobs(["1", "2"])
    assert re.match("not known .*scontrol ping", queue.expected_start(script()))


@pytest.mark.slurm
def test_accounting_remembers_what_slurm_has_forgotten(
    slurm_accounting: DevCluster, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = queue.sbatch(script('exit "$SLURM_ARRAY_TASK_ID"'), array="0-1")
    until(lambda: not queue.jobs([array]))
    until(lambda: len(queue._sacct({f"{array}_0", f"{array}_1"})) == 2)
    monkeypatch.setattr(queue, "_squeue", lambda ids: {})
    ended = queue.ended([f"{array}_0", f"{array}_1", "999999999"])
    assert {one: (job.state, job.exit_code) for one, job in ended.items()} == {
        f"{array}_0": ("COMPLETED", 0),
        f"{array}_1": ("FAILED", 1),
    }
