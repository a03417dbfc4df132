"""The container images: built by podman and by Apptainer from the real recipes and locks, and run as users run them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from image_support import CONTAINERS, FLAVOUR, Workshop

from urbanvlm import __version__
from urbanvlm.locks import lock_hash

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]

SELFTEST = ("python3", "/opt/urbanvlm/selftest.py")
Run = Callable[..., "subprocess.CompletedProcess[str]"]
"""a command inside a container image, with options of its runtime before it"""


@pytest.fixture(params=["podman", "apptainer"])
def inside(request: pytest.FixtureRequest, workshop: Workshop) -> Run:
    """No network, nothing of the image can be written, and, as far as the runtime can here, a user of no name."""
    image = request.getfixturevalue(f"{request.param}_image")
    if request.param == "podman":
        words = ["podman", "run", "--rm", "--no-healthcheck", "--network=none", "--read-only", "--user=12345:12345"]
    else:
        words = ["apptainer", "--quiet", "exec", "--cleanenv", "--net", "--network=none"]

    def run(
        *command: str | Path, options: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return workshop.call(*words, *options, image, *command, **environment)

    return run


def test_it_trains_a_step_with_no_network_no_home_and_nothing_to_write_to(inside: Run) -> None:
    done = inside(*SELFTEST)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"selftest: torch .*\+cpu, one step of training: loss \S+ -> \S+\n", done.stdout)


def test_it_says_what_is_in_it(inside: Run) -> None:
    facts = json.loads(inside("sh", "-c", 'cat "$URBANVLM_IMAGE"').stdout)
    assert (facts["version"], facts["flavour"]) == (__version__, FLAVOUR)
    assert facts["lock"] == lock_hash(CONTAINERS, FLAVOUR)
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", facts["commit"])
    assert "base" in facts["base"]


def test_the_labels_say_the_same(workshop: Workshop, podman_image: str, apptainer_image: Path) -> None:
    podman = json.loads(workshop.run("podman", "image", "inspect", podman_image))[0]["Config"]["Labels"]
    told = json.loads(workshop.run("apptainer", "inspect", "--json", "--labels", apptainer_image))
    for labels in (podman, told["data"]["attributes"]["labels"]):
        assert labels["org.opencontainers.image.version"] == __version__
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["org.opencontainers.image.revision"])
        assert "base" in labels["org.opencontainers.image.base.name"]
        assert labels["org.urbanvlm.flavour"] == FLAVOUR
        assert labels["org.urbanvlm.lock"] == lock_hash(CONTAINERS, FLAVOUR)


def test_it_can_be_asked_for_its_health_but_not_every_half_minute(workshop: Workshop, podman_image: str) -> None:
    (found,) = json.loads(workshop.run("podman", "image", "inspect", podman_image))
    assert found["Healthcheck"]["Test"] == ["CMD", *SELFTEST]
    assert found["Healthcheck"]["Interval"] >= 3600e9


def test_nothing_in_it_compiles_and_everything_can_be_read_by_everybody(inside: Run) -> None:
    compilers = inside("sh", "-c", "command -v cc gcc c++ g++ clang nvcc ninja-build make; true")
    assert (compilers.returncode, compilers.stdout) == (0, "")
    closed = inside("find", "/opt/urbanvlm", "!", "-type", "l", "!", "-perm", "-o=r")
    assert (closed.returncode, closed.stdout) == (0, "")


def test_packages_in_the_home_of_whoever_runs_it_are_not_seen(
    request: pytest.FixtureRequest, inside: Run, tmp_path: Path
) -> None:
    minor = inside("python3", "-c", "import sys; print(sys.version_info.minor)").stdout.strip()
    packages = tmp_path / ".local" / "lib" / f"python3.{minor}" / "site-packages"
    packages.mkdir(parents=True)
    tmp_path.chmod(0o755)
    for name in ("usercustomize", "yaml"):
        (packages / f"{name}.py").write_text("raise SystemExit('from the home')")
    if "podman" in request.node.callspec.id:
        options = (f"--volume={tmp_path}:/home/somebody:ro", "--env=HOME=/home/somebody")
    else:
        options = (f"--home={tmp_path}:/home/somebody",)
    look = "import os, yaml; assert os.listdir(os.path.expanduser('~/.local')); print(yaml.__file__)"
    done = inside("python3", "-c", look, options=options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("/opt/urbanvlm/lib/")


def test_a_broken_package_is_found_by_the_test_that_is_in_the_file(
    workshop: Workshop, apptainer_image: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise ImportError('broken')")
    find = "import importlib.util as find; print(find.find_spec('embreex').origin)"
    module = workshop.run("apptainer", "exec", apptainer_image, "python3", "-c", find).strip()
    done = workshop.call("apptainer", "test", "--bind", f"{broken}:{module}", apptainer_image)
    assert done.returncode
    assert "broken" in done.stderr


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A copy of what images are built from, to be spoilt."""
    shutil.copytree(CONTAINERS, tmp_path / "containers", ignore=shutil.ignore_patterns("images"))
    (tmp_path / "urbanvlm").mkdir()
    shutil.copy(CONTAINERS.parent / "urbanvlm" / "__init__.py", tmp_path / "urbanvlm")
    return tmp_path / "containers"


def build(
    workshop: Workshop, containers: Path, runtime: str, verb: str = "build", **environment: str
) -> tuple[int, list[str], list[Path]]:
    """Exit code, the lines on stderr, the files for Apptainer."""
    images = containers / "images"
    base = str(workshop.base) if runtime == "apptainer" else workshop.base_name
    asked = {"TORCH": FLAVOUR, "RUNTIME": runtime, "BASE_IMAGE": base, "URBANVLM_IMAGES": str(images)}
    done = workshop.call(containers / "image.sh", verb, **(asked | environment))
    return done.returncode, done.stderr.splitlines(), sorted(images.glob("*"))


def test_one_wrong_hash_fails_the_build(workshop: Workshop, recipe: Path) -> None:
    lock = recipe / "requirements.lock"
    text = lock.read_text()
    start = text.index("\nsetuptools==")  # the first package that is installed
    end = text.index("\n    #", start)
    lock.write_text(text[:start] + re.sub(r"sha256:\w", "sha256:f", text[start:end]) + text[end:])
    assert lock.read_text() != text
    code, said, files = build(workshop, recipe, "apptainer")
    assert code
    assert any("DO NOT MATCH THE HASHES" in line for line in said), said
    assert files == []


@pytest.mark.parametrize("runtime", ["podman", "apptainer"])
def test_nothing_is_delivered_that_fails_its_test(workshop: Workshop, recipe: Path, runtime: str) -> None:
    (recipe / "install.sh").write_text("#!/bin/sh\nexit 0\n")  # nothing is in it
    (recipe / "requirements.lock").write_text("# none\n")
    code, said, files = build(workshop, recipe, runtime)
    assert code
    assert any("python3" in line for line in said), said
    assert files == []
    name = f"localhost/urbanvlm:{FLAVOUR}-{lock_hash(recipe, FLAVOUR)}"
    assert workshop.call("podman", "image", "exists", name).returncode


def test_what_podman_has_built_becomes_a_file_for_apptainer(workshop: Workshop, recipe: Path) -> None:
    (recipe / "requirements.lock").write_text("# another\n")
    name = f"localhost/urbanvlm:{FLAVOUR}-{lock_hash(recipe, FLAVOUR)}"
    code, said, files = build(workshop, recipe, "podman", verb="convert")
    assert (code, files) == (2, [])
    assert said == [f"image: podman has no {name}: make image TORCH=cpu RUNTIME=podman builds it"]

    (recipe / "stand-in").write_text(f"FROM {workshop.base_name}\nLABEL org.urbanvlm.lock=some\nENV SOME=word\n")
    workshop.run("podman", "build", "--tag", name, "--file", recipe / "stand-in", recipe)
    code, said, (file,) = build(workshop, recipe, "podman", verb="convert")
    assert code == 0, said
    assert file.name == f"urbanvlm-{FLAVOUR}-{lock_hash(recipe, FLAVOUR)}.sif"
    assert workshop.run("apptainer", "exec", "--cleanenv", file, "sh", "-c", "echo $SOME") == "word\n"
    assert "org.urbanvlm.lock: some" in workshop.run("apptainer", "inspect", file)
    workshop.run("podman", "image", "rm", name)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TORCH": "rocm"}, "TORCH is 'rocm'; it is cpu or cuda"),
        ({"RUNTIME": "pyxis"}, "RUNTIME is 'pyxis'; it is one of: apptainer podman docker"),
        ({"RUNTIME": "apptainer", "BASE_IMAGE": "/no/such/base"}, "base image /no/such/base: no such file or folder"),
        ({"RUNTIME": "podman", "BASE_IMAGE": "/no/such/base"}, "podman takes names"),
        ({"RUNTIME": "podman", "BASE_IMAGE": "localhost/none:1"}, "base image localhost/none:1: "),
    ],
    ids=["flavour", "runtime", "file", "file for podman", "name"],
)
def test_what_cannot_be_built_is_one_line_and_exit_2(
    workshop: Workshop, recipe: Path, environment: dict[str, str], words: str
) -> None:
    code, said, files = build(workshop, recipe, "apptainer", **environment)
    assert code == 2
    assert words in said[-1]
    assert said[:-1] in ([], ["image: fetching the base image localhost/none:1"])
    assert files == []


def test_without_a_runtime_it_says_which_ones_would_do(workshop: Workshop, recipe: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name not in ("apptainer", "podman", "docker"):
            (programs / program.name).symlink_to(program)
    code, said, _ = build(workshop, recipe, "", PATH=str(programs))
    assert code == 2
    assert said == [
        "image: not installed here: apptainer podman docker; install one, or build on another machine and copy the "
        "container image here"
    ]
    assert build(workshop, recipe, "docker", PATH=str(programs))[1][0].startswith("image: not installed here: docker;")


@pytest.mark.parametrize("full", ["APPTAINER_TMPDIR", "URBANVLM_IMAGES"])
def test_a_disk_without_room_is_found_before_the_build(workshop: Workshop, recipe: Path, full: str) -> None:
    disk = recipe / "disk"
    disk.mkdir()
    mounted = f"mount -t tmpfs -o size=9m none {disk} && exec {recipe / 'image.sh'} build"
    done = workshop.call(
        "unshare", "--mount", "sh", "-c", mounted,
        TORCH=FLAVOUR, RUNTIME="apptainer", BASE_IMAGE=str(workshop.base), **{full: str(disk)},
    )  # fmt: skip
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert re.match(rf"image: {disk}: 0 GB are free, and this needs \d+ GB there: .*{full}=", said)
    assert "Starting build" not in done.stderr


def test_make_hands_on_what_it_is_told(workshop: Workshop) -> None:
    done = workshop.call("make", "image", "TORCH=cpu", "RUNTIME=apptainer", "BASE_IMAGE=/no/such/base")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "image: base image /no/such/base: no such file or folder"
    done = workshop.call("make", "image-sif", "TORCH=cpu", "RUNTIME=apptainer")
    assert done.stderr.splitlines()[0] == "image: RUNTIME is 'apptainer'; it is one of: podman docker"
