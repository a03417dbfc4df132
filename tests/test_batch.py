"""The host's side of a job, slurm/batch.sh, with stand-ins for Slurm's clients: what they may say, or fail to say."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BATCH = Path(__file__).parent.parent / "slurm" / "batch.sh"
SECONDS = 120
SAVE = 'echo "time limit near" > "$URBANVLM_ATTEMPT/requeue"; exit 75'
"""work that has saved and asks to be started again"""

CLIENTS = {
    # A thousand times as fast.
    "sleep": 'exec /bin/sleep "0.$(printf %03d "$1")"',
    "squeue": 'case "$*" in *%T*) cat "$SITE/state" ;; *%e*) cat "$SITE/end" ;; esac',
    "scancel": 'echo "$*" >> "$SITE/scancel"',
    "scontrol": """
case "$1" in
    show) [[ $2 == hostnames ]] && tr , '\\n' <<< "$3" ;;
    *) echo "$*" >> "$SITE/scontrol" ;;
esac""",
    "srun": """
echo "$*" >> "$SITE/srun"
node=${SLURM_JOB_NODELIST%%,*} output=/dev/stdout
while [[ $1 == --* ]]; do
    case $1 in
        --output=*) output=${1#*=} output=${output//%t/0} ;;
        --nodelist=*) node=${1#*=} ;;
    esac
    shift
done
[[ ! -e $SITE/launch ]] || . "$SITE/launch"
: >> "$output"
SLURM_PROCID=0 NODE=$node "$@" >> "$output" 2>&1""",
}
"""Name -> its script, where Slurm is well. `launch` may be lines of a test's own that srun does before its command."""


@dataclass(frozen=True)
class Ended:
    """A batch script that has ended."""

    code: int
    log: str


@dataclass
class Site:
    """A node that a batch script runs on, and what Slurm's clients do there."""

    folder: Path
    nodes: tuple[str, ...] = ("one",)
    values: dict[str, str] = field(default_factory=dict)
    """what the batch script sets before it reads batch.sh: of an array its words, quoted"""
    setup: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir(parents=True)
        for name, script in CLIENTS.items():
            self.client(name, script)
        self.says("state", "RUNNING")
        self.says("end", "")

    def client(self, name: str, script: str) -> None:
        program = self.folder / "bin" / name
        program.write_text(f"#!/bin/bash\n{script}\n")
        program.chmod(0o755)

    def says(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"{text}\n" if text else "")

    def read(self, name: str) -> str:
        file = self.folder / name
        return file.read_text() if file.exists() else ""

    @property
    def job_folder(self) -> Path:
        return self.folder / "run" / "jobs" / "job"

    @property
    def attempt(self) -> Path:
        return self.job_folder / "attempt-7-0"

    @property
    def error(self) -> str:
        file = self.attempt / "error-0"
        return file.read_text() if file.exists() else ""

    @property
    def requeues(self) -> int:
        return self.read("scontrol").count("requeue 7\n")

    def run(self, work: str = "true", **environment: str) -> Ended:
        """The batch script of a job whose tasks do `work`; none where it is empty."""
        values: Mapping[str, str] = {
            "job_folder": shlex.quote(str(self.job_folder)),
            "exclude": "",
            "grace_seconds": "",
            "lead_seconds": "100000",
            "runtime": "",
            "meeting_suffix": "",
            "caches": "()",
            "srun_options": "()",
            "check": "()",
            "verdict": "()",
            "work": f"(bash -c {shlex.quote(work)})" if work else "()",
        } | self.values
        script = self.folder / "job.sbatch"
        lines = [
            "export BATCH=$$",
            self.setup,
            *(f"{name}={value}" for name, value in values.items()),
            f"source {BATCH}",
        ]
        script.write_text("\n".join(["#!/bin/bash", *lines, ""]))
        foreign = ("SLURM", "URBANVLM", "SQUEUE", "MASTER", "TMPDIR")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        ours = {
            "SITE": str(self.folder),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": ",".join(self.nodes),
            "SLURM_JOB_NUM_NODES": str(len(self.nodes)),
            "SLURMD_NODENAME": self.nodes[0],
        }
        # Into a file, which a process that stays behind does not keep open.
        with (self.folder / "log").open("wb") as log:
            done = subprocess.run(
                ["bash", script],
                env={**kept, **ours, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=SECONDS,
                check=False,
            )
        return Ended(done.returncode, self.read("log"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def test_a_job_that_does_its_work_asks_for_nothing(site: Site) -> None:
    done = site.run("echo done")
    assert done.code == 0, done.log
    assert (site.attempt / "log-0.txt").read_text() == "done\n"
    assert (site.attempt / "exit").read_text() == "0\n"
    assert site.read("scontrol") == site.error == ""


# --- when it ends


@pytest.mark.parametrize(
    ("variable", "squeue", "known"),
    [
        ("4000000000", "2031-01-01T00:00:00", "4000000000"),
        ("", "2096-10-02T07:06:40", "4000000000"),
        ("", "", "none"),
        ("", "N/A", "none"),
        ("", "NONE", "none"),
        ("", "2001-01-01T00:00:00", "none"),
        ("1000000000", "", "none"),
    ],
)
def test_the_end_of_the_job_is_what_slurm_says_or_not_known(site: Site, variable: str, squeue: str, known: str) -> None:
    """`date` takes an empty answer for midnight, hours ago: the job would save and leave before its first step."""
    site.says("end", squeue)
    done = site.run("echo ${URBANVLM_END_TIME-none}", SLURM_JOB_END_TIME=variable, TZ="UTC")
    assert done.code == 0, done.log
    assert (site.attempt / "log-0.txt").read_text() == f"{known}\n"


# --- asking to be started again


def test_a_job_that_has_saved_is_started_again(site: Site) -> None:
    assert site.run(SAVE).code == 75
    assert site.requeues == 1 and site.error == ""


@pytest.mark.parametrize(
    "setup", ["set -e", "set -euo pipefail", "set -eE; trap 'exit 1' ERR", "set -T; trap 'echo x' DEBUG"]
)
def test_what_a_profile_asks_of_its_own_lines_is_not_asked_of_slurms_clients(site: Site, setup: str) -> None:
    site.setup = setup
    site.client("squeue", 'echo x >> "$SITE/calls"; (($(wc -l < "$SITE/calls") > 3)) && echo RUNNING')
    assert site.run(SAVE).code == 75
    assert site.requeues == 1


@pytest.mark.parametrize("state", ["COMPLETING", "CANCELLED", "PREEMPTED"])
def test_a_job_that_slurm_has_ended_is_not_started_again(site: Site, state: str) -> None:
    site.says("state", state)
    done = site.run(SAVE)
    assert site.requeues == 0 and site.error == ""
    assert f"Slurm says {state}" in done.log


def test_a_job_that_slurm_gives_a_signal_still_runs(site: Site) -> None:
    site.says("state", "SIGNALING")
    site.run(SAVE)
    assert site.requeues == 1


def test_a_setups_own_cleaning_up_is_done(site: Site) -> None:
    site.setup = "trap 'touch \"$SITE/cleaned\"' EXIT"
    assert site.run("echo done").code == 0
    assert (site.folder / "cleaned").exists()


def test_of_several_clusters_only_the_jobs_own_is_asked(site: Site) -> None:
    site.environment["SLURM_CLUSTERS"] = "alpha"
    site.client("squeue", '[[ -z ${SLURM_CLUSTERS-} ]] || echo "CLUSTER: $SLURM_CLUSTERS"; cat "$SITE/state"')
    site.run(SAVE)
    assert site.requeues == 1


def test_an_answer_that_comes_late_is_waited_for(site: Site) -> None:
    site.client("squeue", 'echo x >> "$SITE/calls"; (($(wc -l < "$SITE/calls") > 3)) && echo COMPLETING')
    site.run(SAVE)
    assert site.requeues == 0


def test_scontrol_is_asked_where_squeue_does_not_answer(site: Site) -> None:
    site.client("squeue", "exit 1")
    site.client(
        "scontrol", 'echo "$*" >> "$SITE/scontrol"; [[ $2 != show ]] || echo "JobId=7 JobState=CANCELLED Reason=x"'
    )
    done = site.run(SAVE)
    assert site.requeues == 0 and "Slurm says CANCELLED" in done.log


def test_an_answer_that_never_comes_does_not_lose_the_job(site: Site) -> None:
    site.client("squeue", "echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1")
    site.run(SAVE)
    assert site.requeues == 1 and site.error == ""


def test_without_an_answer_a_job_that_slurm_told_to_end_is_not_started_again_and_says_so(site: Site) -> None:
    """Slurm would start a cancelled job again, too."""
    site.client("squeue", "exit 1")
    site.run(f"kill -TERM $BATCH; until [[ -e $URBANVLM_ATTEMPT/stop ]]; do /bin/sleep 0.1; done; {SAVE}")
    assert site.requeues == 0
    assert site.error == "Slurm refused to start job 7 again (no answer): submit once more\n"


def test_a_request_that_slurm_refuses_leaves_its_words(site: Site) -> None:
    script = '[[ $1 != requeue ]] || { echo x >> "$SITE/asked"; echo "Requested operation is disabled" >&2; exit 1; }'
    site.client("scontrol", script)
    site.run(SAVE)
    assert site.read("asked").count("x") > 3
    assert "(Requested operation is disabled): submit once more" in site.error


def test_a_request_that_was_taken_without_an_answer_is_not_refused(site: Site) -> None:
    site.client("scontrol", '[[ $1 != requeue ]] || { echo COMPLETING > "$SITE/state"; exit 1; }')
    site.run(SAVE)
    assert site.error == ""


def test_a_task_that_slurms_signal_ends_before_the_batch_script_hears_it_has_not_failed(site: Site) -> None:
    site.values["grace_seconds"] = "100000"
    site.client("sleep", '[[ $1 == 1 ]] || exec /bin/sleep 600; kill -TERM "$PPID"; exec /bin/sleep 0.5')
    done = site.run("exit 143")
    assert "the tasks died when told to stop" in done.log
    assert site.requeues == 1, done.log


def test_nor_has_one_that_dies_in_the_grace_time_of_which_only_tasks_are_told(site: Site) -> None:
    """Slurm warns the tasks of preemption, not the batch script; what that can see is that the end has moved."""
    site.says("end", "2096-10-02T07:06:40")
    done = site.run('date -d "now + 30 seconds" +%FT%T > "$SITE/end"; exit 143')
    assert "the tasks died when told to stop" in done.log
    assert site.requeues == 1, done.log


def test_a_task_that_just_fails_is_not_started_again(site: Site) -> None:
    assert site.run("exit 143").code == 143
    assert site.requeues == 0


# --- an srun without an answer


def test_an_srun_that_the_controller_does_not_answer_is_tried_again(site: Site) -> None:
    launch = 'echo x >> "$SITE/calls"; (($(wc -l < "$SITE/calls") > 3)) || exit 1'
    site.says("launch", launch)
    assert site.run("echo done").code == 0
    assert (site.attempt / "log-0.txt").read_text() == "done\n" and site.requeues == 0


def test_tasks_that_are_never_launched_are_no_failure_of_theirs(site: Site) -> None:
    site.says("launch", "exit 1")
    done = site.run("echo done")
    assert done.code == 1 and site.requeues == 1 and site.error == ""
    assert "Slurm did not launch all tasks" in done.log


def test_a_job_that_is_never_launched_ends_with_the_reason(site: Site) -> None:
    site.says("launch", "exit 1")
    for restart in (0, 1):
        (site.job_folder / f"attempt-7-{restart}").mkdir(parents=True)
    site.run("echo done", SLURM_RESTART_COUNT="2")
    assert site.requeues == 0
    error = (site.job_folder / "attempt-7-2" / "error-0").read_text()
    assert "ended 3 times in a row before it got to work (Slurm did not launch all tasks)" in error


def test_tasks_that_fail_are_launched_once(site: Site) -> None:
    assert site.run("exit 3").code == 3
    assert site.read("srun").count("--output=") == 1 and site.requeues == 0


# --- looking at the nodes


VERDICT = r"""
bad=() attempt=$0; read -ra nodes <<< "$1"; shift
for k in "${!nodes[@]}"; do
    grep -q "good" "${@:k+1:1}" || bad+=("${nodes[k]}")
done
printf "%s\n" "${bad[@]}" | grep . > "$attempt/bad-nodes"
echo {} > "$attempt/preflight.json"
((${#bad[@]} == 0)) || exit 3
"""
"""A judge that wants each node's word."""


def checked(site: Site, launch: str) -> Site:
    site.nodes = ("one", "two", "three")
    site.values |= {
        "check": "(bash -c 'echo good')",
        "verdict": f"(bash -c {shlex.quote(VERDICT)})",
        "exclude": "'old[1-2]'",
    }
    site.says("launch", launch)
    # Of the work's three tasks the stand-in starts one.
    site.environment["SLURM_NTASKS_PER_NODE"] = "0"
    return site


def test_good_nodes_get_to_work(site: Site) -> None:
    done = checked(site, "").run("echo done")
    assert done.code == 0, done.log
    assert not (site.job_folder / "bad-nodes").exists()


def test_the_judge_gets_the_nodes_names_whatever_separates_a_setups_words(site: Site) -> None:
    site.setup = "IFS=:"
    done = checked(site, "").run("echo done")
    assert done.code == 0, done.log


def test_a_busy_controller_does_not_make_good_nodes_bad(site: Site) -> None:
    launch = 'echo x >> "$SITE/calls-$node"; [[ $node != two ]] || (($(wc -l < "$SITE/calls-$node") > 2)) || exit 1'
    done = checked(site, launch).run("echo done")
    assert done.code == 0, done.log
    assert not (site.job_folder / "bad-nodes").exists()


@pytest.mark.parametrize("launch", ["exit 1", "[[ $node != one ]] || exit 1"])
def test_where_slurm_starts_nothing_on_the_batch_scripts_own_node_none_is_bad(site: Site, launch: str) -> None:
    done = checked(site, launch).run("echo done")
    assert done.code == 1 and site.requeues == 1, done.log
    assert not (site.job_folder / "bad-nodes").exists() and "ExcNodeList" not in site.read("scontrol")
    assert "Slurm did not start the check on one" in done.log


def test_nor_where_slurm_says_nothing_at_all(site: Site) -> None:
    site.client("squeue", "exit 1")
    checked(site, "[[ $node != two ]] || exit 1").run("echo done")
    assert site.requeues == 1 and not (site.job_folder / "bad-nodes").exists()


def test_a_judgement_that_slurm_does_not_start_is_asked_for_again(site: Site) -> None:
    launch = (
        '[[ "$*" != *preflight.json* ]] || { echo x >> "$SITE/calls"; (($(wc -l < "$SITE/calls") > 2)) || exit 1; }'
    )
    done = checked(site, launch).run("echo done")
    assert done.code == 0, done.log


def test_a_bad_node_is_left_out_and_remembered_with_its_time(site: Site) -> None:
    began = time.time()
    checked(site, "[[ $node != two ]] || exit 1").run("echo done")
    assert site.requeues == 1
    assert site.read("scontrol").endswith("update JobId=7 ExcNodeList=two,old[1-2]\n")
    node, when, job = (site.job_folder / "bad-nodes").read_text().split()
    assert (node, job) == ("two", "7") and began - 2 < int(when) < time.time() + 2


def test_only_the_bad_nodes_of_this_submission_count_and_only_for_some_days(site: Site) -> None:
    """The fourth in a run's life must not end a job, months later."""
    site.job_folder.mkdir(parents=True)
    now = int(time.time())
    known = [f"a {now} 5", f"b {now} 6", f"c {now - 8 * 86400} 7", f"d {now - 60} 7", f"e {now - 60} 7", "f"]
    (site.job_folder / "bad-nodes").write_text("".join(f"{line}\n" for line in known))
    checked(site, "[[ $node != two ]] || exit 1").run("echo done")
    assert site.requeues == 1 and site.error == ""
    assert site.read("scontrol").endswith("update JobId=7 ExcNodeList=d,e,two,old[1-2]\n")


def test_a_job_that_meets_too_many_bad_nodes_ends_with_the_reason(site: Site) -> None:
    site.job_folder.mkdir(parents=True)
    now = int(time.time())
    (site.job_folder / "bad-nodes").write_text("".join(f"{node} {now} 7\n" for node in "abc"))
    checked(site, "[[ $node != two ]] || exit 1").run("echo done")
    assert site.requeues == 0 and site.error.startswith("more than 3 bad nodes, see ")


# --- leaving


def test_a_dead_node_keeps_nobody_waiting(site: Site) -> None:
    """The folder on the nodes' disks is removed where that can be, and then the job is started again."""
    site.nodes = ("one", "two", "dead")
    site.environment = {"SLURM_NTASKS_PER_NODE": "0", "TMPDIR": f"{site.folder}/urbanvlm-7"}
    site.says(
        "launch", '[[ $1 != rm ]] || { echo "$node" >> "$SITE/cleaned"; [[ $node != dead ]] || exec /bin/sleep 900; }'
    )
    # Half a minute is long for a test.
    site.client("timeout", '[[ "$*" != *nodelist=dead* ]] || set -- -k 1 1 "${@:3}"; exec /usr/bin/timeout "$@"')
    site.run(SAVE)
    assert "two" in site.read("cleaned").split()
    assert site.requeues == 1 and not (site.folder / "urbanvlm-7").exists()
