"""Jobs in a container: what they see of this machine, what is looked at before they start, and real ones."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from image_support import Workshop
from slurm_support import DevCluster

from slurm.binds import binds_of
from slurm.cluster import Bind, Cluster, parse_cluster
from slurm.container import command_prefix
from slurm.image import check_facts, look, own_image, read_facts, settle
from slurm.plan import Plan, make_plan
from slurm.submit import scratch
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment, load_experiment
from urbanvlm.locks import code_locks
from urbanvlm.run_folder import RunFolder
from urbanvlm.stages import Stage

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "experiments" / "demo.yaml"
SMALL = (
    "'models=[{family: llava}]' data.scenes.places=40 data.scenes.examples_per_subtype=15 train.max_steps=8 "
    "train.train_batch_size=8 train.micro_batch_size=4 train.checkpoint_every_steps=2 train.validate_every_steps=4 "
    "train.warmup_steps=2 train.log_every_steps=1 train.validation_examples=16 evaluate.batch_size=8 "
    "evaluate.bootstrap_resamples=50 evaluate.max_new_tokens=6 evaluate.max_examples=40"
)
RUNTIMES = ("apptainer", "podman")


def cluster(text: str) -> Cluster:
    return parse_cluster(text, Path("site.yaml"))


def demo(*overrides: str) -> Experiment:
    return load_experiment(DEMO, overrides)


def plan_on(text: str, *overrides: str) -> Plan:
    return make_plan(demo(*overrides), cluster(text))


def refused(plan: Plan) -> str:
    with pytest.raises(UserError) as caught:
        settle([plan])
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


# --- which runtime, which container image


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a PATH without any runtime."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_no_container_nothing_to_look_at() -> None:
    plan = plan_on("executor: local")
    assert settle([plan]) == ([plan], [])


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ("{runtime: any}", ["neither apptainer nor podman nor docker", "CLUSTER=local"]),
        ("{runtime: podman}", ["this machine has no podman", "install it"]),
    ],
)
def test_a_runtime_that_is_not_installed(nothing_installed: Path, container: str, words: list[str]) -> None:
    line = refused(plan_on(f"executor: local\ncontainer: {container}"))
    assert all(word in line for word in ["cluster site: container.runtime", *words]), line


def test_on_slurm_a_module_may_bring_the_runtime_and_nodes_have_stores_of_their_own(nothing_installed: Path) -> None:
    (plan,), remarks = settle([plan_on("executor: slurm\ncontainer: {runtime: podman, image: x}")])
    assert plan.cluster.container is not None and plan.cluster.container.image == "x"
    assert "this machine has no podman" in remarks[0] and "setup" in remarks[0]
    assert "container image x" in remarks[1] and "each job looks" in remarks[1]


def test_any_is_the_first_that_is_here_and_its_image_the_one_of_these_locks(
    nothing_installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URBANVLM_IMAGES", str(tmp_path / "images"))
    for name in ("docker", "apptainer"):
        (nothing_installed / name).write_text("")
        (nothing_installed / name).chmod(0o755)
    line = refused(plan_on("executor: local\ncontainer: {runtime: any}"))
    file = tmp_path / "images" / f"urbanvlm-cpu-{code_locks()['cpu']}.sif"
    assert line == f"container image {file}: no such file; make image TORCH=cpu builds it"
    line = refused(plan_on("executor: local\ncontainer: {runtime: any}", "resources.gpus_per_process=1"))
    assert line.endswith("make image TORCH=cuda builds it") and "urbanvlm-cuda-" in line
    assert own_image("podman", "cuda", "abc", tmp_path) == "localhost/urbanvlm:cuda-abc"


def test_a_file_that_is_missing_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    for runtime, fix in (("apptainer", "make image TORCH=cpu"), ("pyxis", "let enroot make it")):
        text = f"executor: slurm\ncontainer: {{runtime: {runtime}, image: {tmp_path}/x}}"
        line = refused(plan_on(text))
        assert f"container image {tmp_path}/x: no such file" in line and fix in line


def test_a_name_of_a_registry_is_left_to_the_job() -> None:
    for runtime, image in (("pyxis", "registry.example/urbanvlm:1"), ("apptainer", "oras://registry.example/u:1")):
        (plan,), remarks = settle([plan_on(f"executor: slurm\ncontainer: {{runtime: {runtime}, image: '{image}'}}")])
        assert plan.cluster.container is not None and plan.cluster.container.image == image
        assert "is not asked from here; each job looks" in remarks[-1]


@pytest.mark.parametrize("executor", ["local", "slurm"])
def test_a_bind_whose_source_is_missing(executor: str, tmp_path: Path) -> None:
    text = f"executor: {executor}\ncontainer: {{runtime: apptainer, image: 'a://b', binds: ['{tmp_path}/no:/x:ro'"
    line = refused(plan_on(f"{text}]}}"))
    assert f"site: container.binds: there is no {tmp_path}/no; mend the path" in line
    assert (":ro,node" in line) == (executor == "slurm")


def test_a_bind_that_nodes_alone_have() -> None:
    text = "executor: slurm\ncontainer: {runtime: apptainer, image: 'a://b', binds: ['/no/where:/x:ro,node']}"
    (plan,), _ = settle([plan_on(text)])
    assert plan.cluster.container is not None
    assert plan.cluster.container.parsed_binds == (Bind("/no/where", "/x", read_only=True, on_node=True),)


def test_facts_that_do_not_fit_are_told_with_the_command() -> None:
    locks = code_locks()
    check_facts({"flavour": "cpu", "lock": locks["cpu"]}, "image x", gpus=False)
    check_facts({"flavour": "cuda", "lock": locks["cuda"]}, "image x", gpus=False)
    for facts, gpus, words in (
        ({"flavour": "cpu", "lock": locks["cuda"]}, False, [locks["cuda"], locks["cpu"], "make image TORCH=cpu"]),
        ({"flavour": "cpu", "lock": locks["cpu"]}, True, ["CPU build of torch", "needs GPUs", "make image TORCH=cuda"]),
        ({"flavour": "", "lock": ""}, False, ["none of ours", "make image"]),
        ({"flavour": "rocm", "lock": "1"}, False, ["none of ours"]),
        ({}, True, ["none of ours"]),
    ):
        with pytest.raises(UserError) as caught:
            check_facts(facts, "image x", gpus=gpus)
        assert all(word in str(caught.value) for word in ["image x", *words]), caught.value


def test_labels_as_the_runtimes_print_them() -> None:
    labels = {"org.urbanvlm.flavour": "cpu", "org.urbanvlm.lock": "abc", "other": "x"}
    facts = {"flavour": "cpu", "lock": "abc"}
    assert read_facts("podman", json.dumps(labels)) == facts
    assert (
        read_facts("apptainer", json.dumps({"data": {"attributes": {"labels": labels}}, "type": "container"})) == facts
    )
    nothing = {"flavour": "", "lock": ""}
    assert read_facts("docker", "null\n") == nothing
    assert read_facts("apptainer", '{"data": {"attributes": {}}, "type": "container"}') == nothing


def test_a_squashfs_for_pyxis_is_looked_into(tmp_path: Path) -> None:
    if missing := [program for program in ("mksquashfs", "unsquashfs") if not shutil.which(program)]:
        pytest.skip(f"missing: {', '.join(missing)} (apt-get install squashfs-tools)")
    content = tmp_path / "root" / "opt" / "urbanvlm"
    content.mkdir(parents=True)
    text = f"executor: slurm\ncontainer: {{runtime: pyxis, image: {tmp_path}/x.sqsh}}"
    for facts, answer in (
        ({"flavour": "cpu", "lock": "0" * 12}, "make image TORCH=cpu"),
        (None, "finds no opt/urbanvlm"),
    ):
        (tmp_path / "x.sqsh").unlink(missing_ok=True)
        file = content / "image.json"
        file.write_text(json.dumps(facts)) if facts else file.unlink()
        subprocess.run(
            ["mksquashfs", tmp_path / "root", tmp_path / "x.sqsh", "-quiet"], check=True, capture_output=True
        )
        seen = look("pyxis", f"{tmp_path}/x.sqsh")
        assert (seen.facts, seen.missing) == (facts, False)
        assert answer in (seen.why or refused(plan_on(text)))


# --- what a job sees of this machine


def run_in(folder: Path) -> RunFolder:
    run = RunFolder(folder / "run-1")
    run.jobs.mkdir(parents=True)
    return run


def seen_by(plan: Plan, run: RunFolder, kind: str = "report") -> dict[str, tuple[str, bool]]:
    """Target -> (source, is it read-only)."""
    job = next(job for job in plan.jobs if job.stage.kind == "report")
    job = replace(job, stage=Stage("compare")) if kind == "compare" else job
    return {b.target: (b.source, b.read_only) for b in binds_of(plan, job, run, run.snapshots / "abc")}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, which is where everything is started in; no cache of models yet."""
    folder = tmp_path / "home"
    (folder / ".local").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


LOCAL = "executor: local\ncontainer: {runtime: any}"


def test_of_a_home_folder_only_the_run_is_seen_and_it_alone_is_written(home: Path) -> None:
    run = run_in(home / "runs")
    assert seen_by(plan_on(LOCAL), run) == {str(run.path): (str(run.path), False)}
    assert seen_by(plan_on(LOCAL), run, "compare") == {str(home / "runs"): (str(home / "runs"), False)}


def test_a_run_that_lies_elsewhere_leaves_a_folder_to_start_in(home: Path, tmp_path: Path) -> None:
    run = run_in(tmp_path / "disk")
    assert seen_by(plan_on(LOCAL), run) == {
        str(run.path): (str(run.path), False),
        str(home): (str(run.snapshots / "abc"), True),
    }


def test_the_cache_of_models_is_read_only_and_follows_the_variables(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, cache = run_in(home / "runs"), home / ".cache" / "huggingface" / "hub"
    cache.mkdir(parents=True)
    assert seen_by(plan_on(LOCAL), run)[str(cache)] == (str(cache), True)
    elsewhere = tmp_path / "models"
    (elsewhere / "hub").mkdir(parents=True)
    (elsewhere / "token").write_text("secret")
    monkeypatch.setenv("HF_HOME", str(elsewhere))
    seen = seen_by(plan_on(LOCAL), run)
    assert str(elsewhere / "hub") in seen and str(cache) not in seen
    assert not any(Path(elsewhere / "token").is_relative_to(target) for target in seen)


def files_of_ones_own(folder: Path) -> tuple[str, ...]:
    """Overrides that name them, relative to where everything is started in and not."""
    (folder / "pictures").mkdir(parents=True)
    (folder / "test.jsonl").write_text("")
    (folder / "prompts.yaml").write_text("")
    return (
        "mode=zero-shot", "train=null", "data.scenes=null", f"data.images={folder}/pictures",
        f"data.test_file={folder}/test.jsonl", f"evaluate.prompts={folder}/prompts.yaml",
    )  # fmt: skip


def test_what_the_experiment_names_is_seen_by_its_name_and_over_links(home: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    overrides = files_of_ones_own(disk)
    (home / "data").symlink_to(disk)
    run = run_in(tmp_path / "scratch")
    (home / "runs").symlink_to(tmp_path / "scratch")
    named = tuple(text.replace(str(disk), "data") for text in overrides)
    experiment = load_experiment(DEMO, [*named, "models=[{family: llava}, {family: blip2, checkpoint: ../disk}]"])
    seen = seen_by(make_plan(experiment, cluster(LOCAL)), RunFolder(home / "runs" / run.id))
    for name in ("pictures", "test.jsonl", "prompts.yaml"):
        for target in (home / "data" / name, disk / name):
            assert seen.pop(str(target)) == (str(disk / name), True)
    for target in (home / "runs" / run.id, run.path):
        assert seen.pop(str(target)) == (str(run.path), False)
    assert seen == {str(disk): (str(disk), True)}


def test_a_checkpoint_whose_files_are_links_to_elsewhere_comes_with_them(home: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "cache" / "blobs", tmp_path / "cache" / "snapshots" / "a1"
    for folder in (blobs, snapshot / "qformer_tokenizer"):
        folder.mkdir(parents=True)
    for name in ("one", "two", "three"):
        (blobs / name).write_text(name)
    (snapshot / "config.json").symlink_to("../../blobs/one")
    (snapshot / "qformer_tokenizer" / "vocab.txt").symlink_to("../../../blobs/two")
    (blobs / "chain").symlink_to(blobs / "three")
    (snapshot / "model.safetensors").symlink_to("../../blobs/chain")
    (snapshot / "inside.json").symlink_to("config.json")
    (snapshot / "broken.json").symlink_to("../../blobs/nothing")
    plan = plan_on(LOCAL, f"models=[{{family: llava, checkpoint: {snapshot}}}]")
    seen = seen_by(plan, run_in(home / "runs"))
    assert seen[str(snapshot)] == (str(snapshot), True)
    assert {target: source for target, (source, _) in seen.items() if "blobs" in target} == {str(blobs): str(blobs)}


def test_folders_of_a_job_are_on_the_disk_that_the_profile_names_and_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, disk = tmp_path / "attempt", tmp_path / "disk" / "me"
    attempt.mkdir()
    disk.mkdir(parents=True)
    with scratch(cluster("executor: local"), attempt) as variables:
        assert variables == {}
    with scratch(cluster(f"{LOCAL}\nenvironment: {{TRITON_CACHE_DIR: /mine}}"), attempt) as variables:
        assert variables["XDG_CACHE_HOME"] == str(attempt / "cache") and "TRITON_CACHE_DIR" not in variables
        (attempt / "cache" / "x").mkdir(parents=True)
    assert attempt.is_dir() and not list(attempt.iterdir())
    monkeypatch.setenv("WHO", "me")
    for text in (LOCAL, "executor: local"):
        with scratch(cluster(f"{text}\nnode_scratch: {tmp_path}/disk/$WHO"), attempt) as variables:
            folder = Path(variables["TMPDIR"])
            assert folder.is_dir() and folder.parent == disk
            assert all(Path(value).is_relative_to(folder) for value in variables.values())
        assert not list(disk.iterdir())
    monkeypatch.delenv("WHO")
    broken = cluster(f"executor: local\nnode_scratch: {tmp_path}/disk/$WHO")
    with pytest.raises(UserError, match=r"disk/\$WHO: is not a folder of this machine"), scratch(broken, attempt):
        pass


# --- real containers


@dataclass(frozen=True)
class Inside:
    """A real runtime with a real container image of ours."""

    runtime: str
    image: str
    workshop: Workshop
    folder: Path

    @property
    def profile(self) -> str:
        file = self.folder / f"{self.runtime}.yaml"
        file.write_text(f"executor: local\ncontainer: {{runtime: {self.runtime}, image: '{self.image}'}}\n")
        return str(file)

    def submit(self, output: Path, settings: str = SMALL, verb: str = "submit") -> list[str]:
        words = [sys.executable, "-m", "slurm", verb, str(DEMO), "--cluster", self.profile]
        return [*words, "--set", f"{settings} output={output}"]

    def call(self, *words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.workshop.call(*words, cwd=cwd, **environment)

    def finish(self, output: Path, settings: str = SMALL) -> str:
        done = self.call(*self.submit(output, settings))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=RUNTIMES)
def inside(request: pytest.FixtureRequest, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Inside:
    image = str(request.getfixturevalue(f"{request.param}_image"))
    return Inside(request.param, image, workshop, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def apart() -> Iterator[Path]:
    """A folder outside of /tmp and /var/tmp, which Apptainer lets all of in; the checkout may lie there."""
    with tempfile.TemporaryDirectory(dir="/srv", prefix="urbanvlm-test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def reference(inside: Inside) -> Path:
    """The output of a run in the container that nobody disturbed."""
    output = inside.folder / "runs"
    inside.finish(output)
    return output


@contextmanager
def started(inside: Inside, output: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A submit that is gone at the end, and its work with it."""
    with log.open("ab") as file:
        words, environment = inside.submit(output), inside.workshop.environment
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def only_run(output: Path) -> RunFolder:
    (folder,) = (path.parent for path in output.glob("*/experiment.yaml"))
    return RunFolder(folder)


def tasks_of(output: Path) -> list[psutil.Process]:
    """Living processes that do the work of a run below `output`, inside and outside."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if process.status() != psutil.STATUS_ZOMBIE and "slurm.job" in words and str(output) in " ".join(words):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.container
@pytest.mark.timeout(1800)
def test_a_small_copy_of_the_demo_ends_with_scores(reference: Path) -> None:
    run = only_run(reference)
    scores = json.loads(run.scores.read_text(encoding="utf-8"))
    assert {score["phase"] for score in scores} == {"before", "after"}
    assert all(stat.st_uid == os.getuid() for stat in (path.stat() for path in run.path.rglob("*")))
    assert not list(run.jobs.glob("*/attempt-*/cache"))


@pytest.mark.container
@pytest.mark.timeout(1800)
def test_ctrl_c_and_a_killed_submitter_leave_nothing_and_it_goes_on_with_the_same_scores(
    inside: Inside, reference: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    def working(stage: str) -> list[psutil.Process]:
        """Once the stage has got somewhere."""
        progress = [path for run in tmp_path.glob("*/progress") for path in run.glob(f"{stage}-*.json")]
        return tasks_of(tmp_path) if any(json.loads(path.read_text())["done"] for path in progress) else []

    with started(inside, tmp_path, log) as process:
        wait_until(lambda: working("synthesize") or process.poll(), 300, "no scene was rendered")
        seen = [Path(f"/proc/{task.pid}/root/opt/urbanvlm/image.json") for task in tasks_of(tmp_path)]
        assert any(file.exists() for file in seen), log.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        wait_until(lambda: not tasks_of(tmp_path), 60, "something works on after Ctrl-C")

    with started(inside, tmp_path, log) as process:
        wait_until(lambda: working("train-llava") or process.poll(), 600, "no step was trained")
        assert len(tasks_of(tmp_path)) >= 2, log.read_text()
    wait_until(lambda: not tasks_of(tmp_path), 60, "something works on after its submitter was killed")
    if inside.runtime == "podman":
        assert not inside.workshop.run("podman", "ps", "--all", "--quiet", "--filter=status=running").strip()

    inside.finish(tmp_path)
    assert only_run(tmp_path).scores.read_bytes() == only_run(reference).scores.read_bytes()


@pytest.mark.container
@pytest.mark.timeout(900)
def test_a_task_ends_with_the_client_that_started_it(inside: Inside, tmp_path: Path) -> None:
    """All that Slurm has of a container may be its client, and it ends that with SIGKILL."""
    with started(inside, tmp_path, tmp_path / "log") as process:
        wait_until(lambda: (*tmp_path.glob("*/progress/*"),), 300, "no task got to work")
        for task in tasks_of(tmp_path):
            # Apptainer's gave its name away, but it is the task's parent.
            client = task.parent() if inside.runtime == "apptainer" else task
            if client is not None and (inside.runtime == "apptainer" or client.name() == "podman"):
                client.kill()
        assert process.wait(120) == 1
        wait_until(lambda: not tasks_of(tmp_path), 60, "the task outlives its client")
    assert "ended without its result" in (tmp_path / "log").read_text()


PROBE = """
import importlib.util, json, os, sys
print(json.dumps({
    "environment": dict(os.environ), "path": sys.path, "here": os.getcwd(), "seen": sorted(os.listdir(".")),
    "planted": importlib.util.find_spec("planted") is not None, "uid": os.getuid(), "home": os.listdir(sys.argv[1])
    if os.path.isdir(sys.argv[1]) else None, "shared": os.stat("/dev/shm").st_dev, "argument": sys.argv[2],
    "bound": open(sys.argv[3]).read(), "python": sys.executable,
}))
"""
HOSTILE = "a 'b' \"c\" $(touch owned) `touch owned` $HOME, d:e\nü"


@pytest.mark.container
@pytest.mark.timeout(900)
def test_nothing_of_the_home_folder_comes_in_even_if_work_is_done_there(inside: Inside, apart: Path) -> None:
    home, named = apart / "home", apart / "it's, a $(touch owned) folder"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (home / ".local" / "lib" / version / "site-packages", home / "venv", home / "work", named):
        folder.mkdir(parents=True)
        (folder / "planted.py").write_text("")
    (named / "file").write_text("seen")
    for here in (home, home / "work"):
        words = command_prefix(
            cluster(f"executor: local\ncontainer: {{runtime: {inside.runtime}, image: '{inside.image}'}}"),
            gpus=False,
            binds=[Bind(str(named), str(here / "input"), read_only=True), Bind(str(named), str(named))],
            environment_names=["OURS"],
            folder=str(here),
            user=(os.getuid(), os.getgid()),
        )
        done = inside.call(
            *words, "python3", "-s", "-c", PROBE, str(home / ".local"), HOSTILE, str(named / "file"), cwd=here,
            HOME=str(home), PYTHONPATH=str(home / "venv"), VIRTUAL_ENV=str(home / "venv"), OURS=HOSTILE, TOKEN="secret",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["here"] == str(here) and told["seen"] == ["input"], "the host's folder came with it"
        assert told["home"] is None and not told["planted"]
        assert not any(str(apart) in entry for entry in told["path"])
        assert told["python"] == "/opt/urbanvlm/bin/python3"
        assert told["environment"]["OURS"] == told["argument"] == HOSTILE
        assert not {"PYTHONPATH", "VIRTUAL_ENV", "TOKEN"} & set(told["environment"])
        assert (told["bound"], told["uid"]) == ("seen", os.getuid())
        assert told["shared"] == Path("/dev/shm").stat().st_dev, "ranks of a node exchange data there"
    assert not list(apart.rglob("owned*")) and not (ROOT / "owned").exists()


@pytest.mark.container
@pytest.mark.timeout(1800)
def test_files_and_a_checkpoint_of_ones_own_over_links_from_a_home_folder(
    inside: Inside, reference: Path, apart: Path
) -> None:
    home, disk, run = apart / "home", apart / "disk", only_run(reference)
    blobs, snapshot = disk / "blobs", disk / "snapshots" / "a1"
    for folder in (home, blobs, snapshot, disk / "runs"):
        folder.mkdir(parents=True)
    for number, file in enumerate(sorted((run.train("llava") / "export").rglob("*"))):
        if file.is_file():
            (blobs / str(number)).write_bytes(file.read_bytes())
            (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    shutil.copytree(run.dataset / "images", disk / "pool")
    for picture in (path for path in (disk / "pool").rglob("*") if path.is_file()):
        link = disk / "pictures" / picture.relative_to(disk / "pool")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(picture, link.parent))
    shutil.copyfile(run.dataset / "test.jsonl", disk / "test.jsonl")
    (home / "data").symlink_to(disk)
    (home / "runs").symlink_to(disk / "runs")
    site = home / ".local" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for name in ("torch", "transformers"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("raise SystemExit('the host came in')")
    settings = (
        "'models=[{family: llava, checkpoint: data/snapshots/a1}]' mode=zero-shot data.scenes=null train=null "
        "data.images=data/pictures data.test_file=data/test.jsonl data.allow=[linked-image] evaluate.max_examples=24 "
        "evaluate.batch_size=8 evaluate.bootstrap_resamples=50 evaluate.max_new_tokens=6"
    )
    hostile = f"{ROOT}:{site}"
    words = inside.submit(Path("runs"), settings)
    done = inside.call(*words, cwd=home, HOME=str(home), PYTHONPATH=hostile, PYTHONUSERBASE=str(home / ".local"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(only_run(disk / "runs").scores.read_text())

    # A bug inside is told as it is without a container.
    profile = apart / "broken.yaml"
    profile.write_text(f"{Path(inside.profile).read_text()}environment: {{TORCH_LOGS: nonsense}}\n")
    words = inside.submit(Path("runs"), f"{settings} name=broken")
    words[words.index("--cluster") + 1] = str(profile)
    done = inside.call(*words, cwd=home, HOME=str(home), PYTHONPATH=hostile)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" in done.stderr and "job evaluate-llava-before failed, process" in done.stderr


@pytest.fixture(scope="module")
def other_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout whose locks are others."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("slurm", "urbanvlm", "experiments"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "containers").mkdir()
    for lock in (ROOT / "containers").glob("*.lock"):
        (checkout / "containers" / lock.name).write_text(f"{lock.read_text()}\n")
    yield checkout


@pytest.mark.container
@pytest.mark.timeout(900)
def test_a_container_image_of_other_locks_is_refused_by_plan_and_submit(
    inside: Inside, other_locks: Path, tmp_path: Path
) -> None:
    for verb in ("plan", "submit"):
        done = inside.call(*inside.submit(tmp_path / "runs", verb=verb), cwd=other_locks)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        for word in (inside.image, "holds the packages of lock", code_locks()["cpu"], "make image TORCH=cpu"):
            assert word in done.stderr
        assert not (tmp_path / "runs").exists()


@pytest.mark.container
@pytest.mark.timeout(900)
def test_a_container_image_without_gpu_code_or_not_of_ours_is_refused(inside: Inside, tmp_path: Path) -> None:
    done = inside.call(*inside.submit(tmp_path, f"{SMALL} resources.gpus_per_process=1", "plan"))
    assert done.returncode == 2 and "CPU build of torch" in done.stderr and "make image TORCH=cuda" in done.stderr
    base = inside.workshop.base_name if inside.runtime == "podman" else str(inside.workshop.base)
    done = inside.call(*replace(inside, image=base, folder=tmp_path).submit(tmp_path, verb="plan"))
    assert done.returncode == 2 and "is none of ours" in done.stderr, done.stderr
    (tmp_path / "broken.sif").write_text("no container image")
    absent = str(tmp_path / "broken.sif") if inside.runtime == "apptainer" else "localhost/no-such-image:1"
    done = inside.call(*replace(inside, image=absent, folder=tmp_path).submit(tmp_path, verb="plan"))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert absent in done.stderr and ("cannot be read" in done.stderr or "make image" in done.stderr)


@pytest.mark.container
@pytest.mark.timeout(900)
def test_a_container_that_cannot_start_says_why(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        f"executor: local\ncontainer:\n  runtime: {inside.runtime}\n  image: '{inside.image}'\n"
        f"  binds: ['{tmp_path}:/dev/null']\n"
    )
    words = inside.submit(tmp_path / "runs")
    words[words.index("--cluster") + 1] = str(tmp_path / "x.yaml")
    done = inside.call(*words)
    assert done.returncode == 1
    assert "job synthesize ended without its result" in done.stderr
    assert "/dev/null" in done.stderr, "the runtime's own words"


@pytest.mark.container
@pytest.mark.timeout(1800)
def test_local_container_is_the_shipped_profile_for_what_make_image_made(
    apptainer_image: Path, workshop: Workshop, tmp_path: Path
) -> None:
    environment = {"URBANVLM_IMAGES": str(apptainer_image.parent)}
    command = [
        sys.executable,
        "-m",
        "slurm",
        "plan",
        str(DEMO),
        "--cluster=local-container",
        f"--set=output={tmp_path}",
    ]
    done = workshop.call(*command, **environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    done = workshop.call(*command, URBANVLM_IMAGES=str(tmp_path))
    assert done.returncode == 2 and "make image TORCH=cpu builds it" in done.stderr


# --- on Slurm


@pytest.mark.slurm
@pytest.mark.timeout(300)
def test_a_node_without_the_runtime_ends_the_job_once_with_the_reason(
    slurm_cluster: DevCluster, tmp_path: Path
) -> None:
    profile = tmp_path / "site.yaml"
    shipped = (ROOT / "slurm" / "clusters" / "slurm-dev.yaml").read_text(encoding="utf-8")
    profile.write_text(f"{shipped}container: {{runtime: pyxis, image: 'registry.example/urbanvlm:1'}}\n")
    settings = f"{SMALL} resources.memory_gb=2 output={tmp_path / 'runs'}"
    submit = [sys.executable, "-m", "slurm", "submit", str(DEMO), f"--cluster={profile}", "--set", settings]
    done = slurm_cluster.call(*submit)
    assert done.returncode == 0, done.stderr
    assert "note: container image registry.example/urbanvlm:1" in done.stderr
    run = only_run(tmp_path / "runs")
    errors = run.jobs / "synthesize"
    wait_until(lambda: (*errors.glob("attempt-*/exit"),), 120, "the job did not end")
    (error,) = errors.glob("attempt-*/error-0")
    assert "has no pyxis: in the cluster profile" in error.read_text(encoding="utf-8")
    wait_until(lambda: not slurm_cluster.run("squeue", "-h"), 120, "it was started again")
    assert len([*errors.glob("attempt-*")]) == 1
    status = slurm_cluster.call(sys.executable, "-m", "slurm", "status", run.id, f"--output={tmp_path / 'runs'}")
    assert "has no pyxis" in " ".join(status.stdout.split()), status.stdout
