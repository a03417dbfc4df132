"""A run goes on, and is shown, only with the files that it began with; commands name those that are others now."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from report_support import make_run

from slurm.__main__ import main
from urbanvlm import cli
from urbanvlm.errors import UserError
from urbanvlm.experiment import load_experiment
from urbanvlm.run_folder import RunFolder, fingerprint, is_complete
from urbanvlm.same_inputs import changed_inputs, note_inputs

ROW = {"image_id": "a.png", "question": "Is there a car?", "answer": "Yes", "qtype": "x", "subtype": "presence.binary"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that has begun, with pictures, prompts and a checkpoint folder of its user's own; here is its folder."""
    monkeypatch.chdir(tmp_path)
    Path("pictures/deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        Image.new("RGB", (64, 64), "gray").save(f"pictures/{name}")
    Path("model").mkdir()
    Path("model/config.json").write_text("{}")
    Path("test.jsonl").write_text("".join(json.dumps(ROW | {"image_id": i}) + "\n" for i in ("a.png", "deep/b")))
    Path("mine.yaml").write_text("default: One word.\nchain_of_thought: Think.\n")
    tree = {
        "name": "x",
        "mode": "zero-shot",
        "data": {"test_file": "test.jsonl", "images": "pictures"},
        "models": [{"family": "llava", "checkpoint": "model"}],
        "evaluate": {"prompts": "mine.yaml"},
    }
    Path("x.yaml").write_text(yaml.safe_dump(tree))
    experiment = load_experiment(Path("x.yaml"), [])
    run = RunFolder.of(experiment)
    run.create()
    run.write_experiment(experiment)
    note_inputs(experiment, run)
    return run


def write(name: str, text: str) -> Callable[[], object]:
    return lambda: Path(name).write_text(text)


CHANGES: dict[str, tuple[Callable[[], object], str]] = {
    "question": (write("test.jsonl", json.dumps(ROW) + "\n"), "test.jsonl"),
    "prompt": (write("mine.yaml", "default: Two words\nchain_of_thought: Think.\n"), "mine.yaml"),
    "picture": (lambda: Image.new("RGB", (64, 64), "red").save("pictures/deep/b.png"), "pictures/deep/b.png"),
    "no picture": (lambda: Path("pictures/a.png").unlink(), "pictures/a.png (gone)"),
    "no pictures": (lambda: Path("pictures").rename("moved"), "pictures (gone)"),
    "checkpoint": (write("model/config.json", "[]"), "model/config.json"),
    "more of a checkpoint": (write("model/adapter_config.json", "{}"), "model/adapter_config.json (new)"),
    "no checkpoint": (lambda: Path("model").rename("moved"), "model (gone)"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_command_says_the_same(run: RunFolder, capsys: pytest.CaptureFixture[str], what: str) -> None:
    change, name = CHANGES[what]
    change()
    said = f"{name}: is not what {run.id} began with, which stays as it is; bring the old one back, or begin another "
    for command in (["plan", "x.yaml"], ["submit", "x.yaml"], ["requeue", run.id]):
        assert main(command) == 2
        shown = capsys.readouterr()
        assert shown.err.startswith(said) and shown.err.count("\n") == 1 and not shown.out
        assert 'SET="name=x-2"' in shown.err
    assert main(["status", run.id]) == 0
    assert said in capsys.readouterr().out
    assert main(["status", run.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["changed"].startswith(said)


def test_what_was_only_touched_or_brought_back_is_the_same(run: RunFolder) -> None:
    for path in (Path("test.jsonl"), Path("pictures/a.png"), Path("model/config.json")):
        os.utime(path, (0, 0))
    before = Path("mine.yaml").read_bytes()
    Path("mine.yaml").write_text("default: x\nchain_of_thought: y\n")
    assert changed_inputs(run.experiment, run) == ("mine.yaml",)
    Path("mine.yaml").write_bytes(before)
    assert changed_inputs(run.experiment, run) == ()


def test_a_file_of_its_noted_size_and_time_is_not_read(run: RunFolder) -> None:
    """Pictures were there long before the run began, and may be many."""
    picture, long_ago = Path("pictures/a.png"), time.time() - 3600
    os.utime(picture, (long_ago, long_ago))
    run.inputs_file.unlink()
    note_inputs(run.experiment, run)
    picture.write_bytes(bytes(picture.stat().st_size))
    os.utime(picture, (long_ago, long_ago))
    assert changed_inputs(run.experiment, run) == ()
    picture.touch()
    assert changed_inputs(run.experiment, run) == ("pictures/a.png",)


def test_runs_of_a_sweep_ask_once_for_a_picture_and_the_next_command_anew(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, real, seen = [], os.stat, {}

    def stat(path: Any, **options: Any) -> os.stat_result:
        asked.append(str(path).endswith("deep/b.png"))
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    for _ in range(3):
        assert changed_inputs(run.experiment, run, seen=seen) == ()
    before = sum(asked)
    assert seen and before == 1
    CHANGES["picture"][0]()
    assert changed_inputs(run.experiment, run) == ("pictures/deep/b.png",)


def test_new_weights_of_the_same_size_are_others(run: RunFolder) -> None:
    weights = Path("model/model.safetensors")
    weights.write_bytes(bytes(9 * 2**20))
    run.inputs_file.unlink()
    note_inputs(run.experiment, run)
    assert changed_inputs(run.experiment, run) == ()
    weights.write_bytes(b"1" * 9 * 2**20)
    assert changed_inputs(run.experiment, run) == ("model/model.safetensors",)


def test_of_many_the_first_are_named_and_the_rest_counted(run: RunFolder) -> None:
    for file in [*Path("pictures").rglob("*.png"), Path("mine.yaml"), Path("model/config.json")]:
        file.write_bytes(b"x")
    with pytest.raises(UserError, match=r"^mine\.yaml, pictures/a\.png, pictures/deep/b\.png and 1 more: is not"):
        note_inputs(run.experiment, run)


def test_a_run_from_before_has_digests_alone(run: RunFolder) -> None:
    def sizes(*files: str) -> str:
        return hashlib.sha256(json.dumps([(name, Path(name).stat().st_size) for name in files]).encode()).hexdigest()

    old = {name: fingerprint(Path(name)) for name in ("test.jsonl", "mine.yaml")}
    old |= {"pictures": sizes("pictures/a.png", "pictures/deep/b.png"), "model": sizes("model/config.json")}
    run.inputs_file.write_text(json.dumps(old))
    note_inputs(run.experiment, run)
    assert json.loads(run.inputs_file.read_text()) == old
    Path("pictures/a.png").write_bytes(b"x")
    Path("test.jsonl").write_text(json.dumps(ROW | {"image_id": "deep/b"}) + "\n")
    assert changed_inputs(run.experiment, run) == ("test.jsonl", "pictures (a file in it)")


def test_a_report_says_it_and_refuses_to_score_with_other_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rendered = make_run(tmp_path / "rendered", mode="zero-shot", models=("blip2",))
    Path("mine.yaml").write_text("default: One word.\nchain_of_thought: Think.\n")
    tree = yaml.safe_load(rendered.experiment_file.read_text())
    test_file = rendered.split_file("test")
    tree |= {"name": "x", "data": {"test_file": str(test_file), "images": str(rendered.images)}}
    tree["evaluate"]["prompts"] = "mine.yaml"
    Path("x.yaml").write_text(yaml.safe_dump(tree))
    experiment = load_experiment(Path("x.yaml"), [])
    run = RunFolder.of(experiment)
    run.create()
    run.write_experiment(experiment)
    shutil.copytree(rendered.path / "models", run.path / "models")
    note_inputs(experiment, run)
    picture = next(rendered.images.iterdir())
    picture.write_bytes(picture.read_bytes() + b"x")
    Path("mine.yaml").write_text("default: Two words.\nchain_of_thought: Think.\n")
    assert cli.main(["report", str(run.path)]) == 0
    said = f"mine.yaml, {picture}: is not what {run.id} began with, which stays as it is; "
    assert capsys.readouterr().err.startswith(f"note: {said}")
    report = run.report.read_text(encoding="utf-8")
    assert f"{run.id} began with, which stays as it is" in report and "Two words" not in report
    test_file.write_text(test_file.read_text().replace('"answer": "yes"', '"answer": "no"'))
    assert cli.main(["report", str(run.path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{test_file}: is not what {run.id} began with") and error.count("\n") == 1
    assert run.report.read_text(encoding="utf-8") == report and is_complete(run.report)


@pytest.mark.parametrize("written", ["./model", "model/"])
def test_a_run_from_before_noted_a_checkpoint_as_python_writes_it(run: RunFolder, written: str) -> None:
    Path("x.yaml").write_text(Path("x.yaml").read_text().replace("checkpoint: model", f"checkpoint: {written}"))
    experiment = load_experiment(Path("x.yaml"), [])
    assert experiment.models[0].checkpoint == written and "model" in json.loads(run.inputs_file.read_text())
    assert changed_inputs(experiment, run) == ()
    Path("model").rename("moved")
    assert changed_inputs(experiment, run) == (f"{written} (gone)",)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"test.jsonl": 3}', '{"test.jsonl": {"a": null}}', '{"x": "0 1"}', "\xff"]
)
def test_a_broken_note_of_the_inputs_is_one_line(run: RunFolder, capsys: pytest.CaptureFixture[str], text: str) -> None:
    run.inputs_file.write_text(text, encoding="latin-1")
    for command in (["plan", "x.yaml"], ["submit", "x.yaml"]):
        assert main(command) == 2
        shown = capsys.readouterr()
        assert "inputs.json: does not say what" in shown.err and shown.err.count("\n") == 1 and not shown.out
