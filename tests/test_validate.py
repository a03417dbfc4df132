"""`python -m urbanvlm validate`, and what its findings do to a run: a real process each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from urbanvlm.dataset.findings import CODES
from urbanvlm.errors import UserError
from urbanvlm.experiment import check_experiment
from urbanvlm.inputs import check_inputs
from urbanvlm.models.lengths import too_long
from urbanvlm.models.registry import get_family
from urbanvlm.run_folder import RunFolder
from urbanvlm.runtime.preemption import NEVER
from urbanvlm.stages import Process, Stage, is_done, run_stage

ROOT = Path(__file__).parent.parent


def rows(first: int, count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "image_id": f"image_{number:03d}_heading0.jpg",
            "question": f"Is there a car? ({number})",
            "answer": ("Yes", "No")[number % 2],
            "qtype": "perceptual",
            "subtype": "presence.binary",
            **more,
        }
        for number in range(first, first + count)
    ]


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def run(module: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def validate(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run("urbanvlm", "validate", *arguments, cwd=cwd)


def test_nothing_is_wrong(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", rows(0, 12))
    done = validate("rows.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 rows" in done.stdout and "nothing is wrong" in done.stdout


def test_findings_for_people_and_for_programs(tmp_path: Path) -> None:
    long = "a folder of a rather long name"
    (tmp_path / long).mkdir()
    write(tmp_path / "train.jsonl", rows(11, 3))
    write(tmp_path / long / "rows.jsonl", [*rows(0, 12), "{torn", *rows(20, 3, subtype="spatial.distribution.label")])
    command = (f"{long}/rows.jsonl", "--train", "train.jsonl")
    done = validate(*command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    for word in ("error", "warning", "malformed-line", "rows.jsonl:13", "shared-places", "answer-outside-set"):
        assert word in done.stdout
    done = validate(*command, "--json", cwd=tmp_path)
    tree = json.loads(done.stdout)
    assert done.returncode == 1 and tree["refused"] is True
    assert [(one["code"], one["count"]) for one in tree["findings"]] == [
        ("malformed-line", 1),
        ("shared-places", 1),
        ("answer-outside-set", 3),
    ]
    codes = ("--allow", "malformed-line,shared-places", "--allow", "answer-outside-set")
    done = validate(*command, "--json", *codes, cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout)["refused"] is False
    done = validate(*command, *codes, cwd=tmp_path)
    assert done.returncode == 0 and "allowed" in done.stdout
    assert validate(*command, *codes[:2], cwd=tmp_path).returncode == 1


def test_a_note_alone_is_no_matter(tmp_path: Path) -> None:
    lines = [
        row | {"answer": ("Very complex", "Not complex")[n % 2]}
        for n, row in enumerate(rows(0, 6, subtype="depth.range"))
    ]
    write(tmp_path / "rows.jsonl", lines)
    done = validate("rows.jsonl", cwd=tmp_path)
    assert done.returncode == 0 and "other-words" in done.stdout


def test_pictures_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    write(tmp_path / "rows.jsonl", rows(0, 3))
    for row in rows(0, 3)[:2]:
        Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / row["image_id"])
    (tmp_path / "pictures" / rows(0, 3)[0]["image_id"]).write_bytes(b"\xff\xd8")
    done = validate("rows.jsonl", "--images", "pictures", "--json", cwd=tmp_path)
    assert done.returncode == 1
    found = {one["code"]: one["examples"] for one in json.loads(done.stdout)["findings"]}
    assert set(found) == {"missing-image", "broken-image"}
    assert found["missing-image"][0].startswith("rows.jsonl:3: ")
    assert validate("rows.jsonl", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("absent.jsonl",), ["absent.jsonl", "no such file"]),
        ((".",), ["is a folder"]),
        (("empty.jsonl",), ["empty.jsonl", "has no rows"]),
        (("picture.jpg",), ["picture.jpg:1", "not UTF-8"]),
        (("text.txt",), ["text.txt:1", "not JSON"]),
        (("torn.json",), ["torn.json:2", "not JSON"]),
        (("rows.jsonl", "--train", "absent.jsonl"), ["absent.jsonl"]),
        (("rows.jsonl", "--images", "absent"), ["absent", "no such folder"]),
        (("rows.jsonl", "--allow", "single-labels"), ["--allow", "did you mean single-label"]),
        (("rows.jsonl", "--model", "lava"), ["lava", "did you mean llava"]),
        (("rows.jsonl", "--model", "llava:tiny-opt"), ["tiny-opt", "no such preset"]),
        (("rows.jsonl", "--model", "llava:nobody/nothing-at-all"), ["nobody/nothing-at-all", "cannot be loaded"]),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    write(tmp_path / "rows.jsonl", rows(0, 2))
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "text.txt").write_text("hello\nthere\n")
    (tmp_path / "torn.json").write_text('[{"image_id": "a.jpg"},\n{]')
    Image.new("RGB", (16, 16)).save(tmp_path / "picture.jpg")
    done = validate(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


# ---- lengths


@pytest.mark.parametrize("model", ["llava", "instructblip:tiny-llama", "blip2:tiny-opt"])
def test_prompts_that_a_model_cannot_read(tmp_path: Path, model: str) -> None:
    lines = [*rows(0, 4), *rows(4, 2, question="Is there a car? " * 400), "{torn", *rows(6, 2)]
    file = write(tmp_path / "rows.jsonl", lines)
    (one,) = too_long(file, model)
    assert (one.code, one.severity, one.count) == ("too-long", "error", 2)
    assert one.examples[0].startswith(f"{file}:5: ")
    assert too_long(write(file, rows(0, 4)), model) == []


def test_a_rationale_takes_room_too(tmp_path: Path) -> None:
    reasons = "There is a car. " * 150
    lines = [row | {"cot_answer": f"{reasons}Answer: {row['answer']}"} for row in rows(0, 2)]
    assert [one.count for one in too_long(write(tmp_path / "rows.jsonl", lines), "llava")] == [2]


def test_lengths_need_no_weights(tmp_path: Path) -> None:
    loaded = get_family("llava").load("tiny")
    folder = tmp_path / "checkpoint"
    loaded.model.save_pretrained(folder)
    loaded.processor.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    file = write(tmp_path / "rows.jsonl", [*rows(0, 2), *rows(2, 2, question="Is there a car? " * 400)])
    done = validate(file, "--model", f"llava:{folder}", "--json", cwd=tmp_path)
    (one,) = json.loads(done.stdout)["findings"]
    assert done.returncode == 1 and (one["code"], one["count"]) == ("too-long", 2)


# ---- runs


def project(folder: Path, **data: Any) -> dict[str, Any]:
    """An experiment that could run on files of three splits, in their folder."""
    (folder / "pictures").mkdir()
    for split, first in (("train", 0), ("val", 10), ("test", 20)):
        write(folder / f"{split}.jsonl", rows(first, 4))
    for number in range(40):
        Image.new("RGB", (16, 16)).save(folder / "pictures" / f"image_{number:03d}_heading0.jpg")
    files = {f"{split}_file": str(folder / f"{split}.jsonl") for split in ("train", "val", "test")}
    return {
        "name": "x",
        "mode": "fine-tune",
        "output": str(folder / "runs"),
        "data": {**files, "images": str(folder / "pictures"), **data},
        "models": [{"family": "llava"}],
        "train": {"max_steps": 1, "train_batch_size": 1, "micro_batch_size": 1},
    }


def remarks(tree: dict[str, Any], allow: tuple[str, ...] = ()) -> list[str]:
    return check_inputs(check_experiment(tree, "x.yaml").allowing(allow), "x.yaml")


def test_a_run_is_refused_for_an_error_that_is_not_allowed(tmp_path: Path) -> None:
    tree = project(tmp_path)
    assert remarks(tree) == []
    write(tmp_path / "test.jsonl", [*rows(20, 4), *rows(2, 2)])
    with pytest.raises(UserError, match=r"test\.jsonl:5: place 'image_002' is also in .*train\.jsonl:3.*shared-places"):
        remarks(tree)
    (remark,) = remarks(tree, ("shared-places",))
    assert "2 of 6 places" in remark and "[shared-places]" in remark
    tree["data"]["allow"] = ["shared-places"]
    assert remarks(tree) == [remark]


def test_places_of_the_validation_split_are_not_compared(tmp_path: Path) -> None:
    tree = project(tmp_path)
    write(tmp_path / "val.jsonl", rows(2, 4))
    assert remarks(tree) == []


def test_a_run_tells_what_is_no_error(tmp_path: Path) -> None:
    tree = project(tmp_path)
    write(tmp_path / "test.jsonl", [*rows(20, 4), *rows(30, 2, subtype="spatial.distribution.label")])
    (remark,) = remarks(tree)
    assert "test.jsonl" in remark and "answer-outside-set" in remark and "2 times" in remark


def test_all_files_of_a_run_are_looked_at(tmp_path: Path) -> None:
    tree = project(tmp_path)
    write(tmp_path / "val.jsonl", [*rows(10, 4), "{torn"])
    with pytest.raises(UserError, match=r"val\.jsonl:5: not JSON"):
        remarks(tree)


def test_rationales_are_needed_where_they_are_learnt(tmp_path: Path) -> None:
    tree = project(tmp_path)
    told = [row | {"cot_answer": f"I look. Answer: {row['answer']}"} for row in rows(0, 4)]
    write(tmp_path / "train.jsonl", [*told[:3], told[3] | {"cot_answer": "I look. Answer: perhaps"}])
    (remark,) = remarks(tree)
    assert "contradicting-rationale" in remark
    tree["data"]["chain_of_thought"] = True
    with pytest.raises(UserError, match=r"train\.jsonl:4: cot_answer does not end in 'Answer: No'.* 4 more"):
        remarks(tree)
    write(tmp_path / "train.jsonl", told)
    with pytest.raises(UserError, match=r"val\.jsonl:1: has no cot_answer"):
        remarks(tree)


@pytest.mark.parametrize("code", [code for code, kind in CODES.items() if not kind.allowable])
def test_what_nothing_can_go_on_with_cannot_be_allowed(tmp_path: Path, code: str) -> None:
    with pytest.raises(UserError, match=rf"data\.allow.*{code} cannot be allowed"):
        check_experiment(project(tmp_path, allow=[code]), "x.yaml")


def test_an_unknown_code_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.yaml: data\.allow.*did you mean shared-places"):
        check_experiment(project(tmp_path, allow=["shared-place"]), "x.yaml")


def test_what_is_allowed_makes_no_other_run(tmp_path: Path) -> None:
    experiment = check_experiment(project(tmp_path), "x.yaml")
    other = experiment.allowing(("shared-places",))
    assert other.data.allow == ("shared-places",) and other.run_id == experiment.run_id


def test_submit_takes_what_is_allowed(tmp_path: Path) -> None:
    tree = project(tmp_path)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(tree))
    write(tmp_path / "test.jsonl", [*rows(20, 4), *rows(2, 2)])
    done = run("slurm", "plan", "x.yaml", cwd=tmp_path)
    assert done.returncode == 2 and "ALLOW=shared-places" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = run("slurm", "plan", "x.yaml", "--allow", "shared-places", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: " in done.stderr and "shared-places" in done.stderr
    done = run("slurm", "plan", "x.yaml", "--allow", "missing-image", cwd=tmp_path)
    assert done.returncode == 2 and "cannot be allowed" in done.stderr


def test_rendered_scenes_are_audited_in_the_job(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scenes = {"places": 6, "headings": [0], "image_size": 64, "validation_share": 0.34, "test_share": 0.33}
    tree = {
        "name": "scenes",
        "mode": "zero-shot",
        "output": str(tmp_path),
        "data": {"scenes": scenes | {"examples_per_subtype": 4}},
        "models": [{"family": "llava"}],
    }
    experiment = check_experiment(tree, "x.yaml")
    folder = RunFolder.of(experiment)
    folder.create()
    folder.write_experiment(experiment)
    run_stage(folder, Stage("synthesize"), Process(), NEVER)
    assert is_done(folder, experiment, Stage("synthesize"))
    # Six small scenes leave some subtype with few answers; none of them is an error.
    assert "error" not in capfd.readouterr().out


def test_every_code_is_in_the_document() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for code, kind in CODES.items():
        assert f"| `{code}` | {kind.severity} | " in text and kind.meaning in text
