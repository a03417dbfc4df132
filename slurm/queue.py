"""The only caller of Slurm's clients: every call has a time limit, and every refusal becomes one line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from urbanvlm.errors import UserError

QUERY_SECONDS = 15.0
SACCT_SECONDS = 5.0
SUBMIT_SECONDS = 60.0
"""sbatch gets longer: whoever kills it may leave a job behind whose id nobody knows"""
ENDING_SECONDS = 90.0
"""How long a job at its end gets to leave its nodes; Slurm kills its processes after KillWait, commonly 30 s."""

WIDTHS = {
    "JobArrayID": 1024,
    "State": 24,
    "RestartCnt": 12,
    "StartTime": 24,
    "EndTime": 24,
    "exit_code": 12,
    "NodeList": 256,
    "Reason": 160,
}
"""Columns by position: separators came to squeue's long format late, and a reason may hold any sign."""

FINISHED = ("COMPLETED",)
FAILED = (
    "BOOT_FAIL",
    "CANCELLED",
    "DEADLINE",
    "FAILED",
    "LAUNCH_FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "RECONFIG_FAIL",
    "REVOKED",
    "TIMEOUT",
)
"""Slurm's states of a job that will not run any more."""

OUR_VARIABLES = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_SACK_SOCKET")
"""What tells a client where its cluster is; every other variable of Slurm's would change what it does or prints."""

LOGIN_VARIABLES = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "KRB5CCNAME", "LD_LIBRARY_PATH")
"""what a login sets that sbatch needs, or the job's own login (slurm/login.sh), which drops the last"""
UNANSWERED = "the same command, once more, finds the job if it is in the queue all the same"
_LOST_ANSWER = re.compile("timed out|zero bytes were transmitted", re.IGNORECASE)
"""What a client says whose question has reached Slurm, perhaps, and which then heard no more."""

NEXT_STEPS = (
    ("violates", "wait until jobs of yours have ended, or ask for less"),
    ("account", "set `account:` in the cluster profile; `sacctmgr show associations user=$USER` lists yours"),
    ("qos", "set `qos:` in the cluster profile, or leave it out"),
    ("partition", "set `partition:` in the cluster profile; `sinfo -s` lists them"),
    ("time limit", "lower resources.timeout_minutes; `sinfo -o '%P %l'` lists the limits"),
    ("feature", "set `constraint:` in the cluster profile; `sinfo -o '%P %f'` lists the features"),
    ("memory", "lower resources.memory_gb; `sinfo -o '%P %m'` lists what nodes have"),
    (
        "node configuration",
        "ask for less on a node: GPUs, CPUs or memory; `sinfo -o '%P %c %m %G'` lists what nodes have",
    ),
    ("node count", "lower resources.nodes; `sinfo -s` lists how many there are"),
    ("generic resource", "set `gpus_per_node:` in the cluster profile; `sinfo -o '%P %G'` lists what nodes have"),
    ("gres", "set `gpus_per_node:` in the cluster profile; `sinfo -o '%P %G'` lists what nodes have"),
    ("job array", "lower evaluate.shards; `scontrol show config` shows MaxArraySize"),
    ("dependency", "submit again: a job that it needs is no longer known to Slurm"),
)
"""A word of Slurm's refusal -> what to change; the first that fits."""


class Unanswered(UserError):
    """sbatch has not said what became of a job: it may be in the queue."""


@dataclass(frozen=True)
class QueuedJob:
    """A job, or one element of an array, that Slurm has not done with."""

    job_id: str
    """`123`, or `123_4` for an element of an array"""
    state: str
    """PENDING, RUNNING, COMPLETING, …"""
    reason: str
    """why it waits, in Slurm's word; empty if there is none"""
    restarts: int
    start_time: float | None
    """unix seconds: when it began, or is expected to begin if it waits and Slurm says so"""
    end_time: float | None
    """unix seconds of its time limit"""
    nodes: str

    @property
    def waits(self) -> bool:
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING")

    @property
    def expected_start(self) -> str | None:
        """In local time, of a job that waits."""
        return time_words(self.start_time) if self.waits and self.start_time is not None else None


@dataclass(frozen=True)
class EndedJob:
    """How a job, or one element of an array, left the queue."""

    job_id: str
    state: str
    """COMPLETED, FAILED, CANCELLED, TIMEOUT, NODE_FAIL, OUT_OF_MEMORY, …"""
    exit_code: int
    signal: int
    reason: str

    @property
    def words(self) -> str:
        """`FAILED, exit code 1` or `TIMEOUT`."""
        if self.state != "FAILED":
            return self.state
        if self.signal:
            return f"{self.state}, signal {self.signal}"
        return f"{self.state}, exit code {self.exit_code}" if self.exit_code else self.state


def is_available() -> bool:
    """Does this machine have Slurm's clients?"""
    return shutil.which("sbatch") is not None


def sbatch(script: Path, *, dependency: str | None = None, array: str | None = None) -> str:
    """Submit a script; returns the job's id. Raises UserError with Slurm's own reason, or Unanswered."""
    options = [f"--dependency={dependency}"] if dependency else []
    options += [f"--array={array}"] if array else []
    done = _call(["sbatch", "--parsable", *options, str(script)], SUBMIT_SECONDS)
    # The id stands on a line of its own, with the cluster's name behind it where there are several.
    ids = re.findall(r"^(\d+)(?:;\S*)?$", done.stdout, re.MULTILINE)
    if done.returncode == 0 and ids:
        return str(ids[-1])
    reason = _reason(done)
    if done.returncode <= 0 or _LOST_ANSWER.search(reason):
        raise Unanswered(script, f"sbatch heard no answer ({reason})", UNANSWERED)
    raise UserError(script, f"Slurm refuses it: {reason}", _next_step(reason))


def expected_start(script: Path) -> str:
    """When Slurm would start a script if it were submitted now, in words; why not, if it cannot tell."""
    try:
        done = _call(["sbatch", "--test-only", str(script)], QUERY_SECONDS)
    except UserError as error:
        return f"not known ({error})"
    found = re.search(r"to start at (\S+) using .* on nodes? (\S+)", done.stdout + done.stderr)
    if done.returncode != 0 or found is None:
        return f"Slurm would refuse it: {_reason(done)}"
    start = _seconds(found[1])
    when = "at once" if start is None or start < time.time() + 60 else time_words(start)
    return f"{when} on {found[2]}"


def most_elements() -> int | None:
    """How many elements an array may have, numbered from 0; None if Slurm does not say."""
    try:
        text = ask(["scontrol", "show", "config"])
    except UserError:
        return None
    found = [re.search(r"^MaxArraySize\s*=\s*(\d+)", text, re.MULTILINE), re.search(r"\bmax_array_tasks=(\d+)", text)]
    # With 0 there are no arrays: runs then stand alone.
    return max(1, min(int(one[1]) for one in found if one)) if any(found) else None


def jobs(ids: Iterable[str]) -> dict[str, QueuedJob]:
    """The asked jobs that are in the queue; an array's id stands for its elements.

    Raises UserError if Slurm does not answer.
    """
    wanted = set(ids)
    return _queued(_squeue(wanted), wanted)


def scripts() -> dict[str, str]:
    """Job, or element of an array, -> the script that sbatch was given, of what this user has in the queue.

    Raises UserError if Slurm does not answer.
    """
    # The script comes last: how wide its column is depends on whether signs or bytes are counted.
    columns = f"JobArrayID:{WIDTHS['JobArrayID']},Command:4096"
    text = ask(["squeue", "--noheader", "--all", "--array", f"--user={os.getuid()}", f"--Format={columns}"])
    rows = ((line[: WIDTHS["JobArrayID"]].strip(), line[WIDTHS["JobArrayID"] :].strip()) for line in text.splitlines())
    return {one: script for job_id, script in rows for one in expand(job_id)}


def settled(wanted: Iterable[Sequence[str]]) -> dict[str, QueuedJob]:
    """`jobs` of the asked ones, each given as its elements, when no job is on its way out with all that is left of it.

    A job that was cancelled is COMPLETING until its processes are gone, and so is one that was put back into the queue:
    only then it shows which. Raises UserError where that takes too long, or Slurm does not answer.
    """
    elements = [tuple(ids) for ids in wanted]
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        found = jobs(one for ids in elements for one in ids)
        left = [[found[one] for one in ids if one in found] for ids in elements]
        ending = [alive for alive in left if alive and all(job.state == "COMPLETING" for job in alive)]
        if not ending:
            return found
        if time.monotonic() > deadline:
            job = ending[0][0]
            raise UserError(
                f"job {job.job_id}",
                f"is still ending on {job.nodes or 'its nodes'}",
                "try again when squeue shows it gone",
            )
        time.sleep(1.0)


def ended(ids: Iterable[str]) -> dict[str, EndedJob]:
    """How the asked jobs left the queue, each named as it was asked for; absent if nobody knows.

    Raises UserError if Slurm does not answer.
    """
    return look(ids)[1]


def look(ids: Iterable[str]) -> tuple[dict[str, QueuedJob], dict[str, EndedJob]]:
    """`jobs` and `ended` at once, with one squeue call: what has ended is in Slurm's memory, or in its accounting.

    Raises UserError if Slurm does not answer.
    """
    wanted = set(ids)
    rows = _squeue(wanted)
    over = {job_id: _ended(row) for job_id, row in rows.items() if is_final(row["State"])}
    known = {job_id: over[job_id] for job_id in over if job_id in wanted or _base(job_id) in wanted}
    for one in wanted - rows.keys():
        if _base(one) in over:
            # Elements that were cancelled before they began are one row, which has the whole array's name.
            known[one] = replace(over[_base(one)], job_id=one)
    # Who is in the queue is not asked for: right after a node failure, accounting calls such a job dead.
    in_memory = {*rows, *map(_base, rows)}
    forgotten = {one for one in wanted - known.keys() if one not in in_memory}
    return _queued(rows, wanted), known | _sacct(forgotten)


def cancel(ids: Iterable[str]) -> None:
    """End jobs for good; one that has ended already is no error. Raises UserError."""
    _for_each("scancel", ids)


def requeue(ids: Iterable[str]) -> None:
    """End jobs and put them back into the queue; one that has ended already is no error. Raises UserError."""
    _for_each("scontrol requeue", ids)


def ask(command: Sequence[str]) -> str:
    """What a client such as sinfo prints. Raises UserError if it fails or does not answer."""
    done = _call(command, QUERY_SECONDS)
    if done.returncode != 0:
        raise UserError(command[0], _reason(done))
    return done.stdout


def is_final(state: str) -> bool:
    """Of a job that will not run any more?"""
    return state in FINISHED or state in FAILED


def time_words(seconds: float) -> str:
    """`14:05` today, else `Mon 24 Nov 14:05`, in local time."""
    then, now = datetime.fromtimestamp(seconds), datetime.now()
    if then.date() == now.date():
        return f"{then:%H:%M}"
    return f"{then:%a %d %b %H:%M}" if then.year == now.year else f"{then:%d %b %Y}"


def parse_squeue(text: str) -> list[dict[str, str]]:
    """The rows of squeue's long format with our columns."""
    rows = []
    for line in text.splitlines():
        row, place = {}, 0
        for name, width in WIDTHS.items():
            row[name] = line[place : place + width].strip()
            place += width
        # With several clusters each has a line `CLUSTER: name` above its jobs.
        rows += [row | {"JobArrayID": job_id} for job_id in expand(row["JobArrayID"])]
    return rows


def expand(text: str) -> list[str]:
    """`12` and `12_3` themselves; `12_[0-2,5%4]`, elements that never started, one by one; nothing for other words."""
    if re.fullmatch(r"\d+(_\d+)?", text):
        return [text]
    found = re.match(r"(\d+)_\[([\d,:-]+)", text)
    elements: list[int] = []
    for part in found[2].split(",") if found else ():
        if span := re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part):
            elements += range(int(span[1]), int(span[2] or span[1]) + 1, int(span[3] or 1))
    return [f"{found[1]}_{element}" for element in elements] if found else []


def parse_sacct(text: str) -> dict[str, EndedJob]:
    """`JobID|State|ExitCode|Reason` lines; jobs that have not ended are left out, the last line of a job counts."""
    found: dict[str, EndedJob] = {}
    for line in text.splitlines():
        job_id, state, code, reason = (line.split("|") + [""] * 3)[:4]
        state = state.split(" ")[0]  # `CANCELLED by 1000`
        if is_final(state):
            found |= {one: EndedJob(one, state, *_exit_code(code), _no_reason(reason)) for one in expand(job_id)}
    return found


def _squeue(ids: set[str]) -> dict[str, dict[str, str]]:
    """Rows by job, of the arrays that the asked elements are in too; one call for all."""
    if not ids:
        return {}
    columns = ",".join(f"{name}:{width}" for name, width in WIDTHS.items())
    bases = ",".join(sorted(set(map(_base, ids))))
    options = ["--noheader", "--all", "--array", "--states=all"]
    done = _call(["squeue", *options, f"--Format={columns}", f"--jobs={bases}"], QUERY_SECONDS)
    if done.returncode != 0:
        # Asked for one job alone, squeue calls it an error that it does not know it.
        if "Invalid job id" in done.stderr:
            return {}
        raise UserError("squeue", _reason(done), "try again when Slurm answers")
    return {row["JobArrayID"]: row for row in parse_squeue(done.stdout)}


def _queued(rows: Mapping[str, dict[str, str]], wanted: set[str]) -> dict[str, QueuedJob]:
    return {
        job_id: QueuedJob(
            job_id=job_id,
            state=row["State"],
            reason=_no_reason(row["Reason"]),
            restarts=_number(row["RestartCnt"]),
            start_time=_seconds(row["StartTime"]),
            end_time=_seconds(row["EndTime"]),
            nodes=row["NodeList"],
        )
        for job_id, row in rows.items()
        if not is_final(row["State"]) and (job_id in wanted or _base(job_id) in wanted)
    }


def _base(job_id: str) -> str:
    """Of an array's element the array."""
    return job_id.partition("_")[0]


def _ended(row: dict[str, str]) -> EndedJob:
    exit_code, signal = _exit_code(row["exit_code"])
    return EndedJob(row["JobArrayID"], row["State"], exit_code, signal, _no_reason(row["Reason"]))


def _sacct(ids: set[str]) -> dict[str, EndedJob]:
    """Nothing where there is no accounting, or it does not answer: a hint less, not an error."""
    if not ids or shutil.which("sacct") is None:
        return {}
    columns = "JobID,State,ExitCode,Reason"
    command = ["sacct", "--allocations", "--noheader", "--parsable2", f"--format={columns}"]
    try:
        done = _call([*command, f"--jobs={','.join(sorted(ids))}"], SACCT_SECONDS)
    except UserError:
        return {}
    return parse_sacct(done.stdout) if done.returncode == 0 else {}


def _for_each(command: str, ids: Iterable[str]) -> None:
    """Nothing where Slurm says that the job is not there, or at its end."""
    wanted = sorted(ids)
    if not wanted:
        return
    # scancel takes words, scontrol a list.
    words = wanted if command == "scancel" else [",".join(wanted)]
    done = _call([*command.split(), *words], QUERY_SECONDS)
    gone = re.compile("invalid job id|already complet|already done|job is pending execution", re.IGNORECASE)
    problems = [line for line in _lines(done) if not gone.search(line)]
    if done.returncode != 0 and problems:
        raise UserError(command, problems[0], f"{len(problems)} jobs were refused" if len(problems) > 1 else "")


def _call(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a client. Raises UserError where there is none, no cluster behind it, or no answer in time."""
    if shutil.which(command[0]) is None:
        raise UserError(
            "Slurm", f"this machine has no {command[0]}", "go to a login node of the cluster, or use CLUSTER=local"
        )
    configuration = os.environ.get("SLURM_CONF")
    if configuration and not Path(configuration).is_file():
        # The clients would wait a minute for it.
        raise UserError(f"SLURM_CONF={configuration}", "there is no such file", "set it right, or unset it")
    try:
        done = subprocess.run(
            list(command),
            env=_variables_of(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        what = f"{command[0]} got no answer in {seconds:.0f} s"
        if command[0] == "sbatch" and "--test-only" not in command:
            raise Unanswered("Slurm", what, UNANSWERED) from None
        raise UserError("Slurm", what, "`scontrol ping` shows whether its controller is up") from None
    said = done.stderr.lower()
    if done.returncode != 0 and "unable to contact slurm controller" in said:
        raise UserError("Slurm", "its controller does not answer", "`scontrol ping` shows whether it is up")
    if done.returncode != 0 and "configuration source" in said:
        raise UserError(
            "Slurm",
            "its programs are on this machine, but no cluster is behind them",
            "go to a login node of the cluster, or set SLURM_CONF",
        )
    return done


def _variables_of(command: Sequence[str]) -> dict[str, str]:
    """A client's environment; whoever only asks sbatch for a time gets it in their own time zone."""
    if command[0] != "sbatch":
        return _environment()
    zone = {"TZ": os.environ["TZ"]} if "--test-only" in command and "TZ" in os.environ else {}
    return _job_environment() | zone


def _environment() -> dict[str, str]:
    """This process's, less what would change a client's behaviour or its output (SBATCH_WAIT, SQUEUE_FORMAT, …)."""
    ours = re.compile(r"S(LURM|BATCH|QUEUE|ACCT|CANCEL|CONTROL|INFO)_")
    kept = {name: value for name, value in os.environ.items() if name in OUR_VARIABLES or not ours.match(name)}
    # Else a long list of array elements ends in dots.
    return kept | {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}


def _job_environment() -> dict[str, str]:
    """What sbatch needs of this process's: all that it gets reaches the controller, the accounting and the job."""
    kept = {name: os.environ[name] for name in (*LOGIN_VARIABLES, *OUR_VARIABLES) if name in os.environ}
    return kept | {"SLURM_TIME_FORMAT": "standard"}


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """What a client said of its failure, without its own name."""
    return "; ".join(_lines(done)) or f"exit code {done.returncode}, without a word"


def _lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    prefixes = re.compile(r"^(\w+: )?(error: |fatal: )?((Batch job submission failed|allocation failure): )?")
    lines = (prefixes.sub("", line.strip()) for line in done.stderr.splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def _next_step(reason: str) -> str:
    return next((step for word, step in NEXT_STEPS if word in reason.lower()), "")


def _seconds(text: str) -> float | None:
    """Unix seconds of one of Slurm's local times; None for `N/A` and its like."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _exit_code(text: str) -> tuple[int, int]:
    """(exit code, signal) of `3:0`, or of a raw wait status, which squeue prints: exit code times 256 plus signal."""
    code, colon, signal = text.partition(":")
    return (_number(code), _number(signal)) if colon else (_number(code) >> 8, _number(code) & 127)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _no_reason(text: str) -> str:
    return "" if text in ("None", "(null)", "N/A") else text
