"""Checkpoints come once, whole and as the hub has them; jobs then need no network. The hub is a real HTTP server."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from urbanvlm.models.hub import cache_folder, snapshot_of
from urbanvlm.models.registry import get_family

ROOT = Path(__file__).parent.parent
NAME = "someone/tiny-llava"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_" + "thisisasecret" * 3


def is_large(name: str) -> bool:
    """Does the hub keep it apart from git, by its SHA-256?"""
    return name.endswith((".safetensors", ".bin", ".model"))


@dataclass
class Repository:
    """What the hub has by one name, and what is odd about it."""

    files: dict[str, bytes]
    commits: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    gated: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    """told sizes that are not the true ones"""
    wrong: dict[str, bytes] = field(default_factory=dict)
    """file -> what is sent in its place"""
    cut: dict[str, int] = field(default_factory=dict)
    """file -> after so many bytes the connection breaks, once"""
    stall: dict[str, int] = field(default_factory=dict)
    """file -> after so many bytes nothing comes any more"""

    def entry(self, name: str, *, tree: bool) -> dict[str, object]:
        content = self.files[name]
        size, sha256 = self.sizes.get(name, len(content)), hashlib.sha256(content).hexdigest()
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        if tree:
            lfs = {"lfs": {"oid": sha256, "size": size, "pointerSize": 134}} if is_large(name) else {}
            return {"type": "file", "path": name, "size": size, "oid": git, **lfs}
        lfs = {"lfs": {"sha256": sha256, "size": size, "pointerSize": 134}} if is_large(name) else {}
        return {"rfilename": name, "size": size, "blobId": git, **lfs}


class Hub(ThreadingHTTPServer):
    """The few addresses of the hub that a download asks for. Meant for one test, or for reading only."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Answers)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self.stalled = threading.Event()
        self.page: bytes | None = None
        """answers everything, as a hotel's network does"""
        self.status: int | None = None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def downloads(self) -> list[str]:
        """Names of files whose content was asked for, in that order; clears what was asked."""
        found = [line.split("/", 5)[-1] for line in self.asked if line.startswith("GET") and "/resolve/" in line]
        self.asked.clear()
        return found

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        if self.server.page is not None:
            return self._send(200, self.server.page, {"Content-Type": "text/html"})
        if self.server.status is not None:
            return self._fail(self.server.status, "")
        if self.headers.get("Authorization") not in (None, f"Bearer {TOKEN}"):
            return self._fail(401, "", "Invalid credentials in Authorization header")
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._api("/".join(parts[2:4]), parts[4:])
        if len(parts) > 4 and parts[2] == "resolve":
            return self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body)
        return self._fail(404, "")

    def _api(self, name: str, rest: list[str]) -> None:
        repository = self.server.repositories.get(name)
        if repository is None:
            return self._fail(401, "RepoNotFound")
        revision = rest[1] if len(rest) > 1 else "main"
        commit = repository.commits.get(revision, revision)
        if commit not in repository.commits.values():
            return self._fail(404, "RevisionNotFound")
        tree = rest[:1] == ["tree"]
        entries = [repository.entry(file, tree=tree) for file in sorted(repository.files)]
        about = {"id": name, "modelId": name, "sha": commit, "private": False, "tags": [], "siblings": entries}
        return self._send(200, json.dumps(entries if tree else about).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, file: str, body: bool) -> None:
        repository = self.server.repositories[name]
        if repository.gated:
            return self._fail(403 if "Authorization" in self.headers else 401, "GatedRepo")
        if file not in repository.files:
            return self._fail(404, "EntryNotFound")
        content = repository.wrong.get(file, repository.files[file])
        entry = repository.entry(file, tree=True)
        lfs = entry.get("lfs", {"oid": entry["oid"]})
        headers = {"X-Repo-Commit": repository.commits.get(revision, revision), "ETag": f'"{lfs["oid"]}"'}
        start, status = 0, 200
        if given := self.headers.get("Range"):
            self.server.ranges.append(f"{file} {given}")
            start, status = int(given.removeprefix("bytes=").partition("-")[0]), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        end = repository.cut.pop(file, None) if body else None
        stop = repository.stall.get(file) if body else None
        self._send(status, content[start:], headers, only=min(x for x in (end, stop, len(content)) if x is not None))
        if stop is not None:
            self.server.stalled.set()
            time.sleep(600)
        return None

    def _send(self, status: int, content: bytes, headers: dict[str, str], only: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:only])
            self.wfile.flush()
        if only is not None and only < len(content):
            self.close_connection = True

    def _fail(self, status: int, code: str, message: str = "") -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": message})


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with a tiny model of a family, in several files of weights, as the hub would have it."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            loaded = get_family(family).load("tiny", seed=1)
            loaded.model.save_pretrained(made[family], max_shard_size="300KB")
            loaded.processor.save_pretrained(made[family])
            assert len(list(made[family].glob("model-*.safetensors"))) > 2
        return made[family]

    return make


def repository(folder: Path) -> Repository:
    """What a folder holds, and things beside it that nobody loads."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    more = ("README.md", ".gitattributes", "pytorch_model.bin", "onnx/config.json", "runs/events.out", "training.json")
    return Repository(files | dict.fromkeys(more, b"not loaded"))


def shards(repository: Repository) -> list[str]:
    return sorted(name for name in repository.files if name.endswith(".safetensors"))


@pytest.fixture
def llava(hub: Hub, checkpoint: Callable[[str], Path]) -> Repository:
    hub.repositories[NAME] = repository(checkpoint("llava"))
    return hub.repositories[NAME]


class Here:
    """A user's machine: a home, and commands that see no other one's caches or tokens."""

    def __init__(self, home: Path, hub: Hub) -> None:
        self.home, self.hub = home, hub
        self.cache = home / ".cache" / "huggingface" / "hub"
        self.token = ""

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "HUGGINGFACE"))}
        kept |= {"HOME": str(self.home), "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "COLUMNS": "200"}
        return kept | {"HF_ENDPOINT": self.hub.address} | ({"HF_TOKEN": self.token} if self.token else {})

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.home,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(*words, **variables)
        out, err = process.communicate(timeout=120)
        assert TOKEN not in out + err
        assert "Traceback" not in err, err
        return process.returncode, out, err

    def fetch(self, *words: str, **variables: str) -> tuple[int, str, str]:
        return self.run("urbanvlm", "fetch", *words, **variables)

    def refused(self, *words: str, **variables: str) -> str:
        """The one line, after nothing was brought here."""
        code, out, err = self.fetch(*words, **variables)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1, err
        return err

    def folder(self, name: str = NAME, commit: str = COMMIT) -> Path:
        return self.cache / f"models--{name.replace('/', '--')}" / "snapshots" / commit

    def files(self, name: str = NAME) -> set[str]:
        folder = self.folder(name)
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def here(tmp_path: Path, hub: Hub) -> Here:
    return Here(tmp_path, hub)


# ---- what comes -----------------------------------------------------------------------------------------------------


def test_what_is_loaded_comes_and_nothing_else(
    here: Here, llava: Repository, checkpoint: Callable[[str], Path]
) -> None:
    code, out, err = here.fetch(NAME)
    assert code == 0, err
    original = checkpoint("llava")
    assert here.files() == {path.relative_to(original).as_posix() for path in original.rglob("*") if path.is_file()}
    for name in here.files():
        assert (here.folder() / name).read_bytes() == (original / name).read_bytes()
    assert str(here.folder()) in out and f"commit  {COMMIT}" in out
    pinned = yaml.safe_load(out[out.index("models:") :])
    assert pinned == {"models": [{"family": "llava", "checkpoint": NAME, "revision": COMMIT}]}


def test_a_second_time_no_file_is_asked_for_and_a_pinned_commit_asks_nothing_at_all(
    here: Here, hub: Hub, llava: Repository
) -> None:
    assert "of them new" in here.fetch(NAME)[1]
    assert hub.downloads()
    code, out, _ = here.fetch(NAME)
    assert code == 0 and "all here already" in out
    assert hub.downloads() == []
    code, out, _ = here.fetch(NAME, "--revision", COMMIT)
    assert code == 0 and "all here already" in out and "models:" not in out, "it is pinned already"
    assert hub.asked == []


def test_a_cache_on_another_disk_behind_a_link(here: Here, llava: Repository) -> None:
    (here.home / "disk").mkdir()
    (here.home / ".cache").symlink_to("disk")
    assert here.fetch(NAME)[0] == 0
    assert (here.home / "disk" / "huggingface" / "hub").is_dir()
    assert "all here already" in here.fetch(NAME, "--revision", COMMIT)[1]


@pytest.mark.parametrize("family", ["llava", "instructblip"])
def test_what_came_loads_without_a_network(
    here: Here, hub: Hub, checkpoint: Callable[[str], Path], family: str, tmp_path: Path
) -> None:
    hub.repositories["someone/tiny"] = repository(checkpoint(family))
    hub.repositories["someone/tiny"].commits["v1"] = COMMIT
    assert here.fetch("someone/tiny")[0] == 0
    assert here.fetch("someone/tiny", "--revision", "v1")[0] == 0
    hub.close()
    code = f"""
from safetensors.torch import save_file
from urbanvlm.models.registry import get_family
for revision in (None, "v1", {COMMIT!r}):
    loaded = get_family({family!r}).load("someone/tiny", revision=revision)
    loaded.family.check_lengths(loaded, ["Is there a car?"], ["Yes"])
    save_file({{k: v.contiguous().clone() for k, v in loaded.model.state_dict().items()}}, f"{{revision}}.safetensors")
"""
    (tmp_path / "load.py").write_text(code)
    exit_code, _, err = here.run("load", HF_HUB_OFFLINE="1")
    assert exit_code == 0, err
    original = get_family(family).load(str(checkpoint(family))).model.state_dict()
    for revision in ("None", "v1", COMMIT):
        found = load_file(tmp_path / f"{revision}.safetensors")
        assert all(torch.equal(found[name], original[name]) for name in original)


def test_weights_in_one_file_are_taken_alone(here: Here, hub: Hub, llava: Repository) -> None:
    llava.files["model.safetensors"] = b"all of it"
    assert here.fetch(NAME)[0] == 0
    assert [name for name in sorted(here.files()) if "safetensors" in name] == ["model.safetensors"]
    assert snapshot_of(NAME, None, here.cache) == here.folder()


def test_an_experiment_brings_all_that_its_runs_name(here: Here, hub: Hub, llava: Repository, tmp_path: Path) -> None:
    hub.repositories["someone/other"] = llava
    experiment = {
        "name": "x",
        "mode": "zero-shot",
        "data": {"scenes": {"places": 30}},
        "models": [{"family": "llava"}],
        "sweep": {"models.0.checkpoint": [NAME, "tiny", "someone/other"]},
    }
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    code, out, err = here.fetch("--experiment", "x.yaml")
    assert code == 0, err
    assert here.files(NAME) and here.files(NAME) == here.files("someone/other")
    assert f"{NAME}: " in out and "someone/other: " in out
    experiment["sweep"] = {"seed": [1, 2]}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    code, out, err = here.fetch("--experiment", "x.yaml")
    assert (code, err) == (0, "") and "nothing to fetch" in out


# ---- what goes wrong on the way -------------------------------------------------------------------------------------


def test_a_connection_that_breaks_is_taken_up_where_it_broke(here: Here, hub: Hub, llava: Repository) -> None:
    weights = bytes(range(256)) * (25 * 2**20 // 256)
    llava.files["model.safetensors"] = weights
    llava.cut["model.safetensors"] = len(weights) - 1000
    code, _, err = here.fetch(NAME)
    assert (code, err.count("\n")) == (0, 1), err
    assert hub.ranges == [f"model.safetensors bytes={20 * 2**20}-"], "in steps of 10 MiB"
    assert (here.folder() / "model.safetensors").read_bytes() == weights


def test_a_killed_download_keeps_the_files_that_were_whole(here: Here, hub: Hub, llava: Repository) -> None:
    *first, last = shards(llava)
    whole = set(first)
    llava.stall[last] = 1000
    process = here.start("urbanvlm", "fetch", NAME)
    assert hub.stalled.wait(60)
    deadline = time.monotonic() + 60
    while not whole <= here.files() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    assert whole <= here.files() and last not in here.files()
    assert snapshot_of(NAME, None, here.cache) is None, "not all of it is here"
    parts = list(here.cache.rglob("*.incomplete"))
    assert parts
    for part in parts:
        os.utime(part, (0, 0))
    llava.stall.clear()
    hub.downloads()
    assert here.fetch(NAME)[0] == 0
    asked = hub.downloads()
    assert last in asked and not whole & set(asked)
    assert list(here.cache.rglob("*.incomplete")) == [], "what the killed one left is gone"
    assert snapshot_of(NAME, None, here.cache) == here.folder()


def test_ctrl_c_ends_at_once_with_one_line(here: Here, hub: Hub, llava: Repository) -> None:
    llava.stall["config.json"] = 10
    process = here.start("urbanvlm", "fetch", NAME)
    assert hub.stalled.wait(60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "stopped; files that are whole stay, the same command goes on"


def test_other_bytes_than_the_hub_says_are_thrown_away(here: Here, hub: Hub, llava: Repository) -> None:
    for name in (shards(llava)[0], "tokenizer.json"):
        right = llava.files[name]
        llava.wrong[name] = right[:-1] + bytes([right[-1] ^ 1])
        code, _, err = here.fetch(NAME)
        assert code == 2 and f"{NAME}: {name}: did not come as the hub has it, and was removed" in err
        assert name not in here.files()
        llava.wrong.clear()
        hub.downloads()
        assert here.fetch(NAME)[0] == 0
        assert hub.downloads() == [name]
        assert (here.folder() / name).read_bytes() == right
        shutil.rmtree(here.cache)


def test_what_was_killed_before_it_was_checked_is_checked_the_next_time(here: Here, llava: Repository) -> None:
    assert here.fetch(NAME)[0] == 0
    shutil.rmtree(here.folder().parent.parent / ".urbanvlm-checked")
    with (here.folder() / "tokenizer.json").open("r+b") as damaged:
        damaged.write(b" ")
    for revision in ([], ["--revision", COMMIT]):
        code, _, err = here.fetch(NAME, *revision)
        assert code == (0 if revision else 2), err
    assert (here.folder() / "tokenizer.json").read_bytes() == llava.files["tokenizer.json"]


def test_no_room_is_found_before_the_download(here: Here, hub: Hub, llava: Repository) -> None:
    llava.sizes[shards(llava)[0]] = 10**18
    line = here.refused(NAME)
    assert f"{NAME}: needs 1000000000." in line and f"and {here.cache} has" in line and "HF_HOME" in line
    assert set(hub.downloads()) == {"config.json"}


# ---- one line -------------------------------------------------------------------------------------------------------


def test_no_network(here: Here, hub: Hub) -> None:
    hub.close()
    line = here.refused(NAME)
    assert f"{NAME}: no connection to the hub" in line and f"a machine that reaches {hub.address}" in line
    assert "HF_HUB_OFFLINE is set" in here.refused(NAME, HF_HUB_OFFLINE="1")


def test_a_network_that_answers_for_the_hub(here: Here, hub: Hub) -> None:
    hub.page = b"<html>Welcome to our hotel! Please log in.</html>"
    assert "does not answer as the hub does; log in to the network" in here.refused(NAME)


def test_a_hub_that_is_out_of_order(here: Here, hub: Hub) -> None:
    hub.status = 503
    assert f"{NAME}: the hub answers 503; wait a little" in here.refused(NAME)


def test_no_such_model_and_no_such_revision(here: Here, llava: Repository) -> None:
    assert "someone/nothing: is not on the hub, or private and no token is here" in here.refused("someone/nothing")
    assert f"{NAME}: has no revision 'v7'" in here.refused(NAME, "--revision", "v7")


def test_a_gated_model_with_and_without_a_token(here: Here, hub: Hub, llava: Repository) -> None:
    llava.gated = True
    line = here.refused(NAME)
    assert f"is gated, and no token is here; ask for access at {hub.address}/{NAME}, then log in: hf auth login" in line
    here.token = TOKEN
    assert "is gated, and your token has no access" in here.refused(NAME)
    llava.gated = False
    assert here.fetch(NAME)[0] == 0


def test_a_token_that_the_hub_does_not_know(here: Here, llava: Repository) -> None:
    line = here.refused(NAME, HF_TOKEN="hf_outdatedoutdatedoutdated")
    assert "the hub refuses your token (401); log in again" in line and "outdated" not in line


def test_pickles_and_other_kinds_of_models_are_refused_before_their_weights_come(
    here: Here, hub: Hub, llava: Repository
) -> None:
    hub.repositories["a/pickle"] = Repository({"config.json": llava.files["config.json"], "pytorch_model.bin": b"x"})
    assert "a/pickle: has no weights as safetensors, only pickles, which may run" in here.refused("a/pickle")
    hub.repositories["a/bert"] = Repository({"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x"})
    assert "a/bert: is a bert model, which no family loads; choose one of type blip-2" in here.refused("a/bert")
    hub.repositories["a/list"] = Repository({"README.md": b"x"})
    assert "a/list: has no config.json" in here.refused("a/list")
    hub.repositories["a/lora"] = Repository({"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"})
    assert "a/lora: holds adapters alone, which are loaded from a folder" in here.refused("a/lora")
    assert hub.downloads() == ["config.json"]


def test_a_cache_that_cannot_be_written(here: Here, llava: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = here.refused(NAME, HF_HOME=str(tmp_path / "file"))
    assert f"{tmp_path / 'file'}/token cannot be used (Not a directory); set HF_HOME" in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "takes either a model or an experiment"),
        (("a/b", "--experiment", "x.yaml"), "takes either a model or an experiment"),
        (("--experiment", "x.yaml", "--revision", "v1"), "REVISION: is for MODEL"),
        (("--experiment", "nowhere.yaml"), "nowhere.yaml: no such file"),
        (("not a name",), "MODEL 'not a name': is no name on the hub"),
        (("a..b/c",), "MODEL 'a..b/c': is no name on the hub"),
        (("tiny",), "MODEL 'tiny': is no name on the hub"),
        (("folder",), "MODEL 'folder': is a folder here"),
    ],
)
def test_what_is_no_model(here: Here, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    (tmp_path / "folder").mkdir()
    assert says in here.refused(*words)


# ---- the cache, and what submit asks of it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"XDG_CACHE_HOME": "/x"},
        {"XDG_CACHE_HOME": "/x", "HF_HOME": "$HOME/h"},
        {"HF_HOME": "~/h", "HUGGINGFACE_HUB_CACHE": "/old"},
        {"HF_HOME": "/h", "HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "~/c"},
        {"HF_HOME": ""},
    ],
)
def test_the_cache_is_where_the_hubs_library_looks(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "HUGGINGFACE"))} | variables
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert str(cache_folder(environment)) == theirs.stdout.strip()


def test_a_checkpoint_with_a_part_missing_is_not_there(here: Here, llava: Repository) -> None:
    assert snapshot_of(NAME, None, here.cache) is None
    assert here.fetch(NAME)[0] == 0
    assert snapshot_of(NAME, None, here.cache) == snapshot_of(NAME, COMMIT, here.cache) == here.folder()
    assert snapshot_of(NAME, "v1", here.cache) is None
    for name in here.files():
        path = here.folder() / name
        kept = path.readlink()
        path.unlink()
        assert snapshot_of(NAME, None, here.cache) is None, f"without {name}"
        path.symlink_to(kept)
    # Another tool's download has no list of the repository's files beside it.
    shutil.rmtree(here.folder().parent.parent / "trees")
    assert snapshot_of(NAME, None, here.cache) == here.folder()
    (here.folder() / shards(llava)[1]).unlink()
    assert snapshot_of(NAME, None, here.cache) is None


@pytest.fixture
def project(here: Here) -> Path:
    row = {
        "image_id": "a.jpg",
        "question": "Is there a car?",
        "answer": "Yes",
        "qtype": "perceptual",
        "subtype": "presence.binary",
    }
    (here.home / "pictures").mkdir()
    Image.new("RGB", (64, 64), "gray").save(here.home / "pictures" / "a.jpg")
    (here.home / "test.jsonl").write_text(json.dumps(row) + "\n")
    experiment = {
        "name": "x",
        "mode": "zero-shot",
        "data": {"test_file": "test.jsonl", "images": "pictures"},
        "models": [{"family": "llava", "checkpoint": NAME, "revision": COMMIT}],
    }
    (here.home / "x.yaml").write_text(yaml.safe_dump(experiment))
    return here.home


def test_submit_refuses_what_is_not_here_and_then_runs_it_without_a_network(
    here: Here, hub: Hub, llava: Repository, project: Path
) -> None:
    before = sorted(project.rglob("*"))
    code, out, err = here.run("slurm", "submit", "x.yaml")
    assert (code, out) == (2, "")
    assert f"x.yaml: models.0: checkpoint '{NAME}' at {COMMIT} is not, or not all of it, in {here.cache}" in err
    assert f"make fetch MODEL={NAME} REVISION={COMMIT}" in err and len(err.splitlines()) == 1
    assert sorted(project.rglob("*")) == before and hub.asked == []
    code, out, err = here.run("slurm", "plan", "x.yaml")
    assert code == 0 and "note: submit will refuse this: x.yaml: models.0" in err and "evaluate-llava" in out
    assert here.fetch(NAME, "--revision", COMMIT)[0] == 0
    hub.asked.clear()
    code, out, err = here.run("slurm", "submit", "x.yaml")
    assert code == 0, err + out
    assert hub.asked == [], "jobs ask nothing"
    (predictions,) = project.glob("runs/x-*/models/llava/evaluate/before/predictions/*.jsonl")
    assert json.loads(predictions.read_text().splitlines()[0])["model_id"].endswith(f"{NAME}@{COMMIT}")


def test_the_cache_of_a_profile_is_looked_at_and_named(here: Here, llava: Repository, project: Path) -> None:
    cluster = {"executor": "local", "environment": {"HF_HOME": str(project / "their cache")}}
    (project / "site.yaml").write_text(yaml.safe_dump(cluster))
    assert here.fetch(NAME)[0] == 0
    code, _, err = here.run("slurm", "submit", "x.yaml", "--cluster", "site.yaml")
    assert code == 2 and f"'HF_HOME={project}/their cache' make fetch MODEL={NAME}" in err
    assert here.fetch(NAME, HF_HOME=str(project / "their cache"))[0] == 0
    shutil.rmtree(here.cache)
    code, _, err = here.run("slurm", "plan", "x.yaml", "--cluster", "site.yaml")
    assert (code, err) == (0, "")
