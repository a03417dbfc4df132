"""The doctor names what is wrong with packages, GPUs and disks, each with its remedy, and nothing where all is well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from image_support import Workshop

from slurm.snapshot import take_snapshot
from urbanvlm.doctor import Gpus, gpu_findings, memory_findings
from urbanvlm.locks import code_locks
from urbanvlm.packages import locked_versions
from urbanvlm.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
PLANTED = "0.0.7"


@dataclass
class Patient:
    """A user's home, and the doctor in it."""

    home: Path
    code: Path = ROOT
    python: str = sys.executable
    variables: dict[str, str] = field(default_factory=dict)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        ours = ("PYTHON", "HF_", "XDG_", "URBANVLM_", "TMPDIR", "COLUMNS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        done = subprocess.run(
            [self.python, "-B", *(words or ("-m", "urbanvlm", "doctor", "--json"))],
            cwd=self.code,
            env=kept | {"HOME": str(self.home)} | self.variables,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def facts(self, *words: str) -> dict[str, Any]:
        done = self.ask(*words)
        facts = json.loads(done.stdout)
        assert done.returncode == (1 if facts["findings"] else 0)
        return facts

    def findings(self, *words: str) -> list[str]:
        return [" | ".join(one.values()) for one in self.facts(*words)["findings"]]

    @property
    def user_site(self) -> Path:
        return self.home / ".local" / "lib" / VERSION / "site-packages"


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    (tmp_path / "home").mkdir()
    return Patient(tmp_path / "home")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("slurm", "urbanvlm", "containers"):
        shutil.copytree(ROOT / name, tmp_path / "code" / name, ignore=shutil.ignore_patterns("__pycache__", "images"))
    return tmp_path / "code"


def plant(folder: Path, name: str) -> None:
    """An old version of a package, as `pip install --user` or `--target` leaves it."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(f"__version__ = '{PLANTED}'\n")
    info = folder / f"{name}-{PLANTED}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {PLANTED}\n")
    (info / "RECORD").write_text(f"{name}/__init__.py,,\n{name}-{PLANTED}.dist-info/METADATA,,\n")


def image(patient: Patient, tmp_path: Path, **changes: str) -> None:
    """Have the doctor believe that it is in one of our container images."""
    facts = {"version": "0.1", "commit": "a" * 40, "flavour": "cpu", "lock": code_locks()["cpu"], "base": "debian:12"}
    (tmp_path / "image.json").write_text(json.dumps(facts | changes))
    patient.variables["URBANVLM_IMAGE"] = str(tmp_path / "image.json")


# ---- all is well ----------------------------------------------------------------------------------------------------


def test_nothing_is_wrong_here(patient: Patient) -> None:
    facts = patient.facts()
    assert facts["findings"] == [], "else `make venv` has to be run, or a disk is full"
    versions = {one["name"]: one["version"] for one in facts["packages"]}
    assert versions["transformers"] == locked_versions(ROOT, facts["flavour"])["transformers"]
    assert len(versions) > 60 and facts["locks"] == code_locks()
    assert facts["python"]["prefix"] == sys.prefix
    assert facts["hub"]["cache"] == str(patient.home / ".cache" / "huggingface" / "hub")


def test_the_table_says_it_in_words(patient: Patient) -> None:
    done = patient.ask("-m", "urbanvlm", "doctor")
    assert done.returncode == 0, done.stdout
    for words in ("container image", "locks of the code", "torch", "shared memory", "nothing is wrong"):
        assert words in done.stdout
    patient.variables["COLUMNS"] = "60"
    patient.variables["TMPDIR"] = "/nowhere/at/all"
    narrow = patient.ask("-m", "urbanvlm", "doctor")
    assert narrow.returncode == 1 and max(map(len, narrow.stdout.splitlines())) <= 60


def test_no_package_is_imported_to_look_at_it(patient: Patient) -> None:
    code = """
import sys
from urbanvlm.doctor import examine
examine()
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""
    loaded = patient.ask("-c", code).stdout
    assert "urbanvlm" in loaded
    for heavy in ("torch", "transformers", "deepspeed", "numpy", "submitit"):
        assert f"'{heavy}'" not in loaded


def test_of_a_snapshot_it_says_where_that_came_from(patient: Patient, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create()
    snapshot = take_snapshot(run)
    facts = patient.facts(str(snapshot), "urbanvlm", "doctor", "--json")
    taken = json.loads(snapshot.with_suffix(".json").read_text())
    assert facts["urbanvlm"]["snapshot"] == snapshot.name
    assert facts["urbanvlm"]["commit"] == taken["commit"]
    assert facts["locks"] == code_locks() and facts["findings"] == []


# ---- packages -------------------------------------------------------------------------------------------------------


def test_a_package_in_the_home_folder_that_python_would_take(patient: Patient) -> None:
    plant(patient.user_site, "peft")
    patient.variables["PYTHONPATH"] = str(patient.user_site)
    (finding,) = patient.findings()
    assert finding == f"peft | is imported from {patient.user_site}, outside of this Python | unset PYTHONPATH"
    assert f"{PLANTED}, locked" in patient.ask("-m", "urbanvlm", "doctor").stdout


def test_packages_that_break_everything_else(patient: Patient) -> None:
    """What is called first when nothing works must work."""
    for name in ("numpy", "pydantic", "yaml", "torch", "transformers"):
        plant(patient.user_site, name)
    patient.variables["PYTHONPATH"] = str(patient.user_site)
    named = [one.partition(" | ")[0] for one in patient.findings()]
    assert set(named) == {"numpy", "pydantic", "pyyaml", "torch", "transformers"}


def test_a_package_in_the_home_folder_that_python_passes_by(patient: Patient) -> None:
    """A virtual environment of ours, or a container, knows no packages of the user's."""
    plant(patient.user_site, "peft")
    plant(patient.user_site, "nobodys")
    facts = patient.facts()
    assert facts["findings"] == [] and facts["hidden_in_home"] == ["peft"]
    assert "peft: this Python passes them by" in patient.ask("-m", "urbanvlm", "doctor").stdout


def test_the_users_packages_in_a_python_that_is_no_virtual_environment(patient: Patient) -> None:
    plant(patient.user_site, "peft")
    site_packages = Path(sys.prefix, "lib", VERSION, "site-packages")
    (patient.user_site / "more.pth").write_text(f"{site_packages}\n")
    patient.python = str(Path(sys.base_prefix, "bin", VERSION))
    found = {one.partition(" | ")[0]: one for one in patient.findings()}
    assert found["peft"].endswith(f"{patient.user_site}, outside of this Python | export PYTHONNOUSERSITE=1")
    assert str(site_packages) in found["torch"], "neither is the virtual environment this Python's own"


def test_a_module_that_lies_in_front_of_a_package(patient: Patient, checkout: Path) -> None:
    """No version says so: only where it would be imported from."""
    patient.code = checkout
    (checkout / "tokenizers.py").touch()
    (finding,) = patient.findings()
    assert finding.startswith("tokenizers | ") and f"is imported from {checkout}, outside of this Python" in finding


def test_versions_are_compared_with_the_locks_for_this_python_alone(patient: Patient, checkout: Path) -> None:
    patient.code = checkout
    assert patient.findings() == []
    lock = checkout / "containers" / "requirements.lock"
    text = lock.read_text()
    right = locked_versions(ROOT, "cpu")
    text = text.replace(f"\npeft=={right['peft']} ", "\npeft==0.1.2 ")
    text += (
        "not-there==1.0 \\\n    --hash=sha256:00\nnor-that==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
    )
    lock.write_text(text)
    assert patient.findings() == [
        f"peft | is {right['peft']}, where the lock says 0.1.2 | make venv",
        "not-there | is not installed; the lock says 1.0 | make venv",
    ]


def test_a_lock_that_cannot_be_read_is_exit_2(patient: Patient, checkout: Path) -> None:
    patient.code = checkout
    with (checkout / "containers" / "requirements.lock").open("a") as lock:
        lock.write("peft @@ 3\n")
    done = patient.ask()
    assert (done.returncode, done.stdout) == (2, "")
    assert "requirements.lock: is no lock" in done.stderr and len(done.stderr.splitlines()) == 1
    (checkout / "containers" / "torch-cuda.lock").unlink()
    assert patient.ask().returncode == 2


# ---- the container image --------------------------------------------------------------------------------------------


def test_an_image_that_fits(patient: Patient, tmp_path: Path) -> None:
    image(patient, tmp_path)
    assert patient.findings() == []
    assert f"cpu {code_locks()['cpu']}, of version 0.1 (aaaaaaaaaaaa) on debian:12" in patient.ask(
        "-m", "urbanvlm", "doctor"
    ).stdout.replace("\n" + " " * 18, "")


def test_an_image_of_other_locks_than_the_code(patient: Patient, tmp_path: Path) -> None:
    image(patient, tmp_path, lock="0" * 12)
    wanted = code_locks()["cpu"]
    what = f"holds the packages of lock {'0' * 12}, but this code wants those of {wanted}"
    assert patient.findings() == [f"the container image | {what} | make image TORCH=cpu builds that one"]


def test_what_is_wrong_inside_an_image_is_mended_by_another_one(
    patient: Patient, tmp_path: Path, checkout: Path
) -> None:
    image(patient, tmp_path, flavour="cuda", lock=code_locks()["cuda"])
    patient.code = checkout
    found = patient.findings()
    if any("torch" in one for one in found):
        assert all(one.endswith("| make image TORCH=cuda") for one in found), found
    else:
        pytest.skip("this environment has the CUDA build itself")


def test_image_facts_that_cannot_be_read_are_exit_2(patient: Patient, tmp_path: Path) -> None:
    patient.variables["URBANVLM_IMAGE"] = str(tmp_path / "gone.json")
    done = patient.ask()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path / 'gone.json'}: cannot be read" in done.stderr


# ---- GPUs, memory, disks --------------------------------------------------------------------------------------------

H100 = Gpus(("NVIDIA H100", "NVIDIA H100"), "550.54.15")


@pytest.mark.parametrize(
    ("gpus", "cuda", "words"),
    [
        (Gpus(), "13.0", None),
        (Gpus(), None, None),
        (H100, "12.4", None),
        (H100, None, "torch | is the CPU build, which uses none of the 2 GPUs here | make venv TORCH=cuda"),
        (
            Gpus(H100.names, "550.54.15", "The NVIDIA driver on your system is too old"),
            "13.0",
            "GPU driver | 550.54.15 is too old for the CUDA 13.0 of this torch, which takes 580 or newer | install a "
            "newer driver, or on data-centre GPUs NVIDIA's cuda-compat",
        ),
        (
            Gpus(H100.names, "580.65.06", "RuntimeError: CUDA unknown error"),
            "13.0",
            "GPUs | RuntimeError: CUDA unknown error | see that nvidia-smi works, and in a container that it is given "
            "GPUs",
        ),
    ],
)
def test_gpus_and_drivers(gpus: Gpus, cuda: str | None, words: str | None) -> None:
    found = [f"{one.where} | {one.what} | {one.fix}" for one in gpu_findings(gpus, cuda, None)]
    assert found == ([words] if words else [])


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo '570.10, NVIDIA A100'; echo '570.10, NVIDIA A100'", "uses none of the 2 GPUs here"),
        ("echo 'could not talk to the driver'; exit 9", "nvidia-smi says: could not talk to the driver"),
    ],
)
def test_what_nvidia_smi_says(patient: Patient, tmp_path: Path, script: str, words: str) -> None:
    """A machine with GPUs, as far as one without can be one."""
    if patient.facts()["flavour"] != "cpu":
        pytest.skip("this environment has the CUDA build")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    patient.variables["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    (finding,) = patient.findings()
    assert words in finding


def test_little_shared_memory() -> None:
    assert list(memory_findings(8192)) == []
    (little,), (none,) = memory_findings(64), memory_findings(None)
    assert little.what.startswith("64 MB are little") and "--ipc=host" in little.fix and "there is none" in none.what


def test_a_scratch_folder_that_is_not_there(patient: Patient, tmp_path: Path) -> None:
    patient.variables["TMPDIR"] = str(tmp_path / "nowhere")
    (finding,) = patient.findings()
    assert finding.startswith(f"TMPDIR {tmp_path / 'nowhere'} | cannot be written (No such file")


# ---- of a profile ---------------------------------------------------------------------------------------------------


def test_of_a_profile_without_a_container_it_is_this_python(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        f"executor: local\nenvironment: {{HF_HOME: {tmp_path / 'hf'}, PYTHONWARNINGS: ignore}}\n"
    )
    facts = patient.facts("-m", "slurm", "doctor", "--cluster", str(tmp_path / "site.yaml"), "--json")
    assert facts["hub"] == {"cache": str(tmp_path / "hf" / "hub"), "checkpoints": 0, "offline": True}
    assert facts["python"]["prefix"] == sys.prefix


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ("runtime: pyxis\n  image: /x.sqsh", "pyxis starts a container inside a job only; make preflight CLUSTER="),
        ("runtime: apptainer\n  image: /nowhere/x.sif", "/nowhere/x.sif: "),
    ],
)
def test_a_container_that_cannot_be_started_is_exit_2(
    patient: Patient, tmp_path: Path, container: str, words: str
) -> None:
    (tmp_path / "site.yaml").write_text(f"executor: slurm\npartition: p\ncontainer:\n  {container}\n")
    done = patient.ask("-m", "slurm", "doctor", "--cluster", str(tmp_path / "site.yaml"))
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.container
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("runtime", ["apptainer", "podman"])
def test_in_a_container_nothing_of_the_home_folder_is_seen(
    patient: Patient,
    tmp_path: Path,
    checkout: Path,
    runtime: str,
    workshop: Workshop,
    request: pytest.FixtureRequest,
) -> None:
    built = request.getfixturevalue(f"{runtime}_image")
    profile = tmp_path / "site.yaml"
    profile.write_text(f"executor: local\ncontainer:\n  runtime: {runtime}\n  image: {built}\n")
    inside = ("-m", "slurm", "doctor", "--cluster", str(profile), "--json")
    plant(patient.user_site, "peft")
    patient.variables |= workshop.environment | {"HOME": str(patient.home), "PYTHONPATH": str(patient.user_site)}
    assert any(one.startswith("peft | ") for one in patient.findings()), "on the host it is in the way"
    facts = patient.facts(*inside)
    assert facts["findings"] == [] and facts["hidden_in_home"] == []
    assert facts["python"]["prefix"] == "/opt/urbanvlm" and facts["image"]["lock"] == code_locks()["cpu"]
    assert facts["urbanvlm"]["folder"] == str(ROOT)
    # The code of a checkout whose locks are others.
    patient.code = checkout
    del patient.variables["PYTHONPATH"]
    with (checkout / "containers" / "requirements.lock").open("a") as lock:
        lock.write("# another day\n")
    done = patient.ask(*inside)
    assert done.returncode == 2
    assert f"{built}: holds the packages of lock {code_locks()['cpu']}, but this code wants" in done.stderr
