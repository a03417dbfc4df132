"""A user's mistake at the command line: one clear line, exit code 2, nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parent.parent
ROW = {
    "image_id": "a.jpg",
    "question": "Is there a car?",
    "answer": "Yes",
    "qtype": "perceptual",
    "subtype": "presence.binary",
}


def submit(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m slurm submit x.yaml` in `folder`, as a user in a project folder of their own would."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "slurm", "submit", "x.yaml", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a picture, two question files and an experiment that would run."""
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "pictures" / "a.jpg")
    for name in ("test", "train", "val"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(ROW) + "\n")
    experiment = {
        "name": "x",
        "mode": "zero-shot",
        "data": {"test_file": "test.jsonl", "images": "pictures"},
        "models": [{"family": "llava"}],
    }
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    return tmp_path


def row(**changes: object) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        lines = [json.dumps(ROW), json.dumps({k: v for k, v in (ROW | changes).items() if v is not None})]
        (project / "test.jsonl").write_text("\n".join(lines) + "\n")

    return change


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content
    return lambda project: (project / name).write_bytes(data) and None


def link_outside(project: Path) -> None:
    (project / "secret.jpg").write_bytes((project / "pictures" / "a.jpg").read_bytes())
    (project / "pictures" / "b.jpg").symlink_to(project / "secret.jpg")
    row(image_id="b.jpg")(project)


CASES: dict[str, tuple[Callable[[Path], None] | None, list[str], list[str]]] = {
    "unknown key": (None, ["--set", "evaluate.max_new_token=3"], ["evaluate.max_new_token", "mean max_new_tokens"]),
    "wrong type": (None, ["--set", "seed=abc"], ["seed", "valid integer"]),
    "unknown family": (None, ["--set", "models.0.family=llama"], ["llama", "llava"]),
    "unknown preset": (None, ["--set", "models.0.checkpoint=tiny-opt"], ["models.0", "tiny-opt", "it has: tiny"]),
    "missing checkpoint folder": (None, ["--set", "models.0.checkpoint=./nowhere"], ["./nowhere", "no folder here"]),
    "unknown cluster": (None, ["--cluster", "locl"], ["locl", "did you mean local"]),
    "missing data file": (None, ["--set", "data.test_file=absent.jsonl"], ["absent.jsonl", "no such file"]),
    "missing image folder": (None, ["--set", "data.images=absent"], ["absent", "no such folder"]),
    "missing prompts file": (None, ["--set", "evaluate.prompts=absent.yaml"], ["absent.yaml", "no such file"]),
    "unbalanced quote in SET": (None, ["--set", "name='x"], ["SET", "closing quotation"]),
    "output below a file": (None, ["--set", "output=test.jsonl/runs"], ["output", "test.jsonl"]),
    "malformed line": (text("test.jsonl", json.dumps(ROW) + "\n{not json\n"), [], ["test.jsonl:2"]),
    "line that is no object": (text("test.jsonl", json.dumps(ROW) + "\n[1]\n"), [], ["test.jsonl:2"]),
    "not UTF-8": (text("test.jsonl", b"\xff\xfe\n"), [], ["test.jsonl", "UTF-8"]),
    "empty file": (text("test.jsonl", "\n"), [], ["test.jsonl"]),
    "missing question": (row(question=None), [], ["test.jsonl:2", "question"]),
    "half a character": (row(question="a\ud83d"), [], ["test.jsonl:2", "question"]),
    "a picture in the question": (row(question="<image> A car?"), [], ["test.jsonl:2", "question holds <image>"]),
    "fp16 with T5": (None, ["--set", "models.0.family=blip2 models.0.precision=fp16"], ["models.0", "fp16", "bf16"]),
    "a folder of no model": (None, ["--set", "models.0.checkpoint=pictures"], ["models.0", "config.json", "no such"]),
    "file below a file": (None, ["--set", "data.test_file=test.jsonl/x"], ["test.jsonl/x", "Not a directory"]),
    "number for an answer": (row(answer=3), [], ["test.jsonl:2", "answer"]),
    "unknown subtype": (row(subtype="presence.binari"), [], ["test.jsonl:2", "presence.binari", "presence.binary"]),
    "missing picture": (row(image_id="nowhere.jpg"), [], ["nowhere.jpg"]),
    "picture outside": (row(image_id="../pictures/a.jpg"), [], ["../pictures/a.jpg"]),
    "absolute picture": (row(image_id="/etc/passwd"), [], ["/etc/passwd"]),
    "link that leads outside": (link_outside, [], ["b.jpg"]),
    "broken picture": (text("pictures/a.jpg", b"\xff\xd8\xff\xe0 no picture"), [], ["a.jpg"]),
    "other places of a single one": (None, ["--set", "evaluate.images=shuffled"], ["evaluate.images", "other places"]),
    "torn YAML": (text("x.yaml", "name: [x\n"), [], ["x.yaml:"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_line_exit_2_nothing_written(project: Path, case: str) -> None:
    change, options, words = CASES[case]
    if change is not None:
        change(project)
    before = sorted(project.rglob("*"))
    done = submit(project, *options)
    assert done.returncode == 2, done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert sorted(project.rglob("*")) == before


def test_a_batch_that_does_not_add_up(project: Path) -> None:
    train = "train.max_steps=1 train.train_batch_size=8 train.micro_batch_size=3"
    done = submit(project, "--set", f"mode=fine-tune data.train_file=train.jsonl data.val_file=val.jsonl {train}")
    assert done.returncode == 2
    assert "train_batch_size is 8" in done.stderr and "= 3" in done.stderr


def test_too_few_places_for_the_splits(project: Path) -> None:
    experiment = yaml.safe_load((project / "x.yaml").read_text()) | {
        "data": {"scenes": {"places": 2, "image_size": 64}}
    }
    (project / "x.yaml").write_text(yaml.safe_dump(experiment))
    done = submit(project)
    assert done.returncode == 2 and "places" in done.stderr, done.stderr
    assert not (project / "runs").exists()


@pytest.mark.parametrize("asked", [{"subtypes": ["cuont"]}, {"weights": {"cuont": 2}}])
def test_an_unknown_subtype_is_named_with_its_key(project: Path, asked: dict[str, object]) -> None:
    tree = yaml.safe_load((project / "x.yaml").read_text()) | {"data": {"scenes": {"places": 30} | asked}}
    (project / "x.yaml").write_text(yaml.safe_dump(tree))
    done = submit(project)
    assert done.returncode == 2 and not (project / "runs").exists()
    assert f"data.scenes.{next(iter(asked))}: unknown subtype 'cuont'; did you mean count?" in done.stderr


def test_a_finished_run_is_not_shown_for_another_file(project: Path) -> None:
    first = submit(project)
    assert first.returncode == 0, first.stderr
    (project / "test.jsonl").write_text(json.dumps(ROW | {"answer": "No"}) + "\n")
    second = submit(project)
    assert second.returncode == 2
    assert "test.jsonl: is not what x-" in second.stderr and "blind" not in second.stdout
    (project / "test.jsonl").write_text(json.dumps(ROW) + "\n")
    assert submit(project).returncode == 0


def test_plan_touches_nothing_and_imports_no_torch(project: Path) -> None:
    before = sorted(project.rglob("*"))
    code = (
        "import sys; from slurm.__main__ import main; code = main(['plan', 'x.yaml']); "
        "print('torch' in sys.modules, code)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=project, env=environment, capture_output=True, text=True)
    assert done.stdout.strip().endswith("False 0"), done.stderr
    assert "evaluate-llava-before" in done.stdout and "scores" not in done.stderr
    assert sorted(project.rglob("*")) == before
