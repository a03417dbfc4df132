"""Looks at every node of a job before its work begins, so that a bad one is left out in time.

On each node one process, `python -m urbanvlm.runtime.preflight check FOLDER --rank K --of N [--gpus G]`: it prints one
line on stdout, whatever happens. FOLDER is any folder that all nodes share. On Slurm each node needs its own srun: with
one for all, a node that cannot be reached ends the others' checks.
Then once, over what they printed, `python -m urbanvlm.runtime.preflight verdict FOLDER NODES FILE...`, the names of the
nodes separated by commas or spaces. It prints one line and leaves `preflight.json` and `bad-nodes` in FOLDER. It exits
with 0 if all is well, 3 if it names bad nodes, 2 if the configuration is wrong, which then stands in `error-0`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from urbanvlm.errors import UserError
from urbanvlm.records import write_atomic
from urbanvlm.runtime.rendezvous import (
    Met,
    Patience,
    await_text,
    check_gloo_interface,
    connect,
    first_line,
    listen,
    meet,
    node_name,
    ports_of,
)
from urbanvlm.runtime.verdict import PREFIX, WAITED, Verdict, as_json, verdict
from urbanvlm.terminal import use_plain_signs
from urbanvlm.user import settle_user

SECONDS = 180.0
"""A check's own time limit. Importing torch from a cold network file system alone may take a minute or two."""
RUN_FOLDER_GB = 1.0
SCRATCH_GB = 0.25
PACKAGES = ("torch", "transformers", "deepspeed", "peft", "submitit")
THIS_CODE = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from urbanvlm.runtime.preflight import main
sys.exit(main(sys.argv[1:]))
"""
"""`-m` would look for the package in the folder that the job is started in first, where other code may lie"""
CONFIGURATION_EXIT_CODE = 2
BAD_NODES_EXIT_CODE = 3


@dataclass(frozen=True)
class Place:
    """This node among those of the job."""

    name: str
    rank: int
    count: int
    start: str
    """the same on all nodes, another at every start"""

    @classmethod
    def of(cls, rank: int, count: int, environment: Mapping[str, str]) -> Place:
        start = f"{environment.get('SLURM_JOB_ID') or '0'}-{environment.get('SLURM_RESTART_COUNT') or '0'}"
        return cls(node_name(), rank, count, start)


@dataclass(frozen=True)
class Wanted:
    """What to check, and for how long."""

    folder: Path
    place: Place
    gpus: int
    """that the job needs on each node"""
    scratch: tuple[Path, ...]
    """disks of the node's own, besides TMPDIR"""
    seconds: float
    """time limit"""


def check(wanted: Wanted, arguments: Sequence[str]) -> NoReturn:
    """Print this node's answer in time. The work is another process's, which may hang wherever it likes."""
    worker = subprocess.Popen(
        [sys.executable, "-c", THIS_CODE, str(Path(__file__).parents[2]), "work", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    facts: dict[str, Any] = {"node": wanted.place.name, "rank": wanted.place.rank, "doing": "to start"}
    listener = threading.Thread(target=_gather, args=(worker, facts), daemon=True)
    listener.start()
    listener.join(wanted.seconds)
    worker.kill()
    answer = dict(facts)
    if not listener.is_alive() and answer["doing"]:
        how = f"the check ended with exit code {worker.wait()} where it wanted {answer['doing']}"
        answer["faults"] = {"check": how} | answer.get("faults", {})
    print(PREFIX + json.dumps(answer), flush=True)
    # The worker may hang in the kernel, where no signal reaches it: do not wait for it.
    os._exit(0)


def _gather(worker: subprocess.Popen[str], facts: dict[str, Any]) -> None:
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.startswith(PREFIX):
            facts.update(json.loads(line.removeprefix(PREFIX)))


def _say(**facts: Any) -> None:
    print(PREFIX + json.dumps(facts), flush=True)


class Worker:
    """One node's checks, in order of their weight. Each fact is said as soon as it is known."""

    def __init__(self, wanted: Wanted) -> None:
        self.place, self.shared, self.gpus = wanted.place, wanted.folder, wanted.gpus
        self.folder = wanted.folder / "preflight" / wanted.place.start
        self.scratch, self.seconds = wanted.scratch, wanted.seconds
        self.began = time.monotonic()
        self.faults: dict[str, str] = {}
        # Else a worker whose parent was killed might stay for ever.
        suicide = threading.Timer(wanted.seconds + 5, os._exit, [1])
        suicide.daemon = True
        suicide.start()

    def run(self) -> None:
        _say(doing="to look at the folder")
        words = self._exchange_words()
        _say(doing="to look at the disks")
        self._disks()
        _say(doing="to compare versions", versions=_versions())
        reaches = False
        if 0 in words:
            _say(doing="to reach the first node")
            reaches = self._reach_first(words[0]["address"])
        if len(words) == self.place.count:
            _say(doing="to import torch")
            import torch

            _say(doing="to use the GPUs")
            visible = self._gpus(torch)
            _say(doing="to wait for the other nodes", faults=self.faults)
            if self._all_ready(reaches and not self.faults):
                results = self._all_reduce(words[0]["address"][0], with_gpus=visible > 0 and self.gpus > 0)
                _say(all_reduce=results)
        elif words:
            self._say_ready(False)
        _say(doing="", seconds=round(time.monotonic() - self.began, 1))

    def _patience(self, share: float) -> Patience:
        return Patience(self.seconds * share, time.monotonic() + self.seconds * share)

    def _exchange_words(self) -> dict[int, dict[str, Any]]:
        """Every node leaves a word of its own in the folder, and looks for those of the others. By rank."""
        place, word = self.place, secrets.token_hex(8)
        mine: dict[str, Any] = {"node": place.name, "word": word}
        if place.rank == 0:
            listener = listen(ports_of(f"preflight {place.start}"))
            threading.Thread(target=_tell_time, args=(listener,), daemon=True).start()
            host = os.environ.get("MASTER_ADDR") or place.name
            mine["address"] = [host, listener.getsockname()[1]]
        try:
            if not self.shared.is_dir():
                raise FileNotFoundError(None, "no such folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.folder / f"{place.rank}.json", json.dumps(mine))
        except OSError as error:
            _say(folder_error=f"{self.shared}: {error.strerror}", sees={})
            return {}
        patience = self._patience(1 / 4)
        words: dict[int, dict[str, Any]] = {}
        for rank in range(place.count):
            text = await_text(self.folder / f"{rank}.json", lambda: patience.is_over)
            if text is not None:
                words[rank] = json.loads(text)
        _say(wrote=word, sees={found["node"]: found["word"] for found in words.values()})
        return words

    def _reach_first(self, address: tuple[str, int]) -> bool:
        """Ask the first node for its time. False if that fails."""
        if self.place.rank == 0:
            return True
        host, port = address
        try:
            with connect(host, port, self._patience(1 / 8), self.place.rank, "the first node") as connection:
                asked = time.time()
                connection.sendall(b"?")
                connection.settimeout(10.0)
                told = float(connection.makefile().readline())
                ahead = (asked + time.time()) / 2 - told
        except (UserError, OSError, ValueError) as error:
            _say(unreachable=str(error), unknown_name=isinstance(error, UserError) and not _has_address(host))
            return False
        _say(clock_ahead=round(ahead, 3))
        return True

    def _disks(self) -> None:
        scratch = [Path(os.environ.get("TMPDIR") or "/tmp"), *self.scratch]  # noqa: S108 it is what others will take
        limits = [("run folder", self.shared, RUN_FOLDER_GB), *(("scratch", path, SCRATCH_GB) for path in scratch)]
        free: dict[str, float] = {}
        for kind, path, limit in limits:
            try:
                free[str(path)] = round(shutil.disk_usage(path).free / 1e9, 1)
                with tempfile.TemporaryFile(dir=path) as trial:
                    trial.write(bytes(1 << 20))
                    trial.flush()
                    os.fsync(trial.fileno())
            except OSError as error:
                # That the folder is missing is said already.
                if kind == "scratch":
                    self.faults[kind] = f"cannot write {path} ({error.strerror})"
                continue
            if shutil.disk_usage(path).free < limit * 1e9:
                self.faults[kind] = f"{path} has {free[str(path)]:g} GB free, less than {limit:g}"
        _say(free_gb=free, faults=self.faults)

    def _gpus(self, torch: Any) -> int:
        count: int = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count < self.gpus:
            self.faults["gpus"] = f"shows {count} GPUs of the {self.gpus} that the job needs"
        for number in range(count if self.gpus else 0):
            _say(doing=f"to multiply on GPU {number}")
            try:
                ones = torch.ones(256, 256, device=f"cuda:{number}")
                right = float((ones @ ones).sum()) == 256.0**3
            except RuntimeError as error:
                self.faults["gpu"] = f"GPU {number}: {first_line(error)}"
            else:
                if not right:
                    self.faults["gpu"] = f"GPU {number} multiplies wrongly"
        _say(gpus=count)
        return count

    def _all_ready(self, am_ready: bool) -> bool:
        """Whether every node will take part in an all-reduce. All nodes find the same."""
        self._say_ready(am_ready)
        end = self.began + self.seconds * 3 / 4
        words = [
            await_text(self.folder / f"{rank}.ready", lambda: time.monotonic() > end)
            for rank in range(self.place.count)
        ]
        return all(word == "yes" for word in words)

    def _say_ready(self, am_ready: bool) -> None:
        write_atomic(self.folder / f"{self.place.rank}.ready", "yes" if am_ready else "no")

    def _all_reduce(self, address: str, with_gpus: bool) -> dict[str, str]:
        # With it, NCCL reports a timeout; without, it ends the process.
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
        place, patience = self.place, self._patience(1 / 8)
        environment = {
            "MASTER_ADDR": address,
            "URBANVLM_RENDEZVOUS": str(self.folder / "rendezvous"),
            "URBANVLM_JOB": place.start,
            "URBANVLM_MEET_SECONDS": str(patience.seconds),
        }
        results: dict[str, str] = {}
        _say(doing="the gloo all-reduce")
        met: Met | None = None

        def join() -> None:
            nonlocal met
            import torch.distributed as dist

            met = Met.alone() if place.count == 1 else meet(place.rank, place.count, environment)
            if interface := check_gloo_interface(met, os.environ):
                os.environ["GLOO_SOCKET_IFNAME"] = interface
            backend = "cpu:gloo,cuda:nccl" if with_gpus else "gloo"
            dist.init_process_group(
                backend, store=met.store, rank=place.rank, world_size=place.count, timeout=patience.for_gloo
            )
            dist.distributed_c10d._set_pg_timeout(patience.left)
            _reduce("cpu", place.count)

        results["gloo"] = _result_of(join)
        if with_gpus and results["gloo"] == "ok":
            _say(doing="the NCCL all-reduce")
            results["nccl"] = _result_of(lambda: _reduce("cuda:0", place.count))
        if met is not None:
            _leave_together(met, place, patience)
        return results


def _tell_time(listener: socket.socket) -> None:
    """Answer everybody who asks with this node's clock."""

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10.0)
            connection.recv(1)
            connection.sendall(f"{time.time()!r}\n".encode())

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def _has_address(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False


def _reduce(device: str, count: int) -> None:
    """Sum a mebibyte over all nodes. Raises ValueError if the sum is wrong."""
    import torch
    import torch.distributed as dist

    if device != "cpu":
        torch.cuda.set_device(device)
    values = torch.full((1 << 18,), float(dist.get_rank() + 1), device=device)
    dist.all_reduce(values)
    if not bool((values == count * (count + 1) / 2).all()):
        raise ValueError("the sum is wrong")


def _result_of(act: Callable[[], None]) -> str:
    try:
        act()
    except (UserError, RuntimeError, ValueError) as error:
        text = first_line(error)
        patient = ("timed out", "timeout", "not come", "lost the process", "closed by peer", "reset by peer")
        return f"{WAITED} ({text})" if any(word in text.lower() for word in patient) else text
    return "ok"


def _leave_together(met: Met, place: Place, patience: Patience) -> None:
    """Rank 0 serves the store, so it leaves last."""
    try:
        left = met.store.add("left", 1)
        while place.rank == 0 and left < place.count and not patience.is_over:
            time.sleep(0.05)
            left = met.store.add("left", 0)
    except RuntimeError:
        # The others are gone already: nobody to wait for.
        return


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version(), "code": _code()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "none"
    return versions


def _code() -> str:
    """A short fingerprint of the sources that the job runs."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for package in ("slurm", "urbanvlm"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def write_verdict(folder: Path, nodes: Sequence[str], lines: Sequence[str]) -> int:
    """Judge, print one line, leave the files. Returns the exit code."""
    judged = verdict(nodes, lines)
    line = _in_words(judged, len(nodes))
    facts = {"nodes": list(nodes), "verdict": asdict(judged), "words": line, "answers": as_json(lines)}
    write_atomic(folder / "preflight.json", json.dumps(facts, indent=1) + "\n")
    write_atomic(folder / "bad-nodes", "".join(f"{node}\n" for node in judged.bad))
    print(line, flush=True)
    if judged.problem is not None:
        write_atomic(folder / "error-0", f"{line}\n")
        return CONFIGURATION_EXIT_CODE
    return BAD_NODES_EXIT_CODE if judged.bad else 0


def _in_words(judged: Verdict, count: int) -> str:
    if judged.problem is not None:
        return " ".join(f"preflight: {judged.problem}".split())
    nodes = f"{count} node{'s' if count > 1 else ''}"
    if judged.bad:
        reasons = "; ".join(f"{node}: {reason}" for node, reason in judged.bad.items())
        return " ".join(f"preflight: {len(judged.bad)} of {nodes} bad: {reasons}".split())
    return f"preflight: {nodes} good"


def main(arguments: Sequence[str]) -> int:
    use_plain_signs()
    settle_user(os.environ)
    parser = argparse.ArgumentParser(
        prog="python -m urbanvlm.runtime.preflight",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (("check", "look at this node"), ("work", "what check starts")):
        node = commands.add_parser(name, help=about)
        node.add_argument("folder", type=Path)
        node.add_argument("--rank", type=int, default=0, help="number of this node in the job")
        node.add_argument("--of", type=int, default=1, help="how many nodes the job has")
        node.add_argument("--gpus", type=int, default=0, help="GPUs that the job needs on each node")
        node.add_argument("--scratch", type=Path, action="append", default=[], help="a disk of the node's own")
        node.add_argument("--seconds", type=float, default=SECONDS, help="time limit")
    judge = commands.add_parser("verdict", help="judge what the nodes printed")
    judge.add_argument("folder", type=Path)
    judge.add_argument("nodes")
    judge.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    if given.command == "verdict":
        try:
            lines = [line for file in given.files for line in _lines_of(file)]
            return write_verdict(given.folder, given.nodes.replace(",", " ").split(), lines)
        except OSError as error:
            print(UserError(error.filename or given.folder, error.strerror or "failed"), file=sys.stderr)
            return CONFIGURATION_EXIT_CODE
    place = Place.of(given.rank, given.of, os.environ)
    wanted = Wanted(given.folder, place, given.gpus, tuple(given.scratch), given.seconds)
    if given.command == "check":
        check(wanted, arguments[1:])
    Worker(wanted).run()
    # No farewell of torch's, which may wait for a node that is gone.
    sys.stdout.flush()
    os._exit(0)


def _lines_of(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="replace").splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
