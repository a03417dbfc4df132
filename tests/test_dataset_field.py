"""Files as the field has them: what can be read is read, the rest is named for what it is, and can be allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from slurm.__main__ import main
from urbanvlm.dataset.audit import audit, audit_file
from urbanvlm.dataset.gate import judged
from urbanvlm.dataset.metadata import read_metadata
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.rows import RowFile
from urbanvlm.dataset.scan import scan
from urbanvlm.errors import UserError
from urbanvlm.experiment import check_experiment, read_tree
from urbanvlm.inputs import check_inputs
from urbanvlm.run_folder import RunFolder
from urbanvlm.same_inputs import note_inputs

ROW = {
    "image_id": "a.jpg",
    "question": "Is there a car?",
    "answer": "Yes",
    "qtype": "perceptual",
    "subtype": "presence.binary",
}


def talk(id_: str, question: str, answer: str, **more: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": f"<image>\n{question}", "subtype": "count"}, {"from": "gpt", "value": answer}]
    return {"id": id_, "image": "a.jpg", "conversations": turns} | more


def text_only(id_: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    return {"id": id_, "conversations": turns}


def save(path: Path, tree: Any, **style: Any) -> Path:
    path.write_text(json.dumps(tree, **style), encoding="utf-8")
    return path


# ---- records inside an object


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
def test_records_inside_an_object_are_named_by_their_key(tmp_path: Path, name: str, indent: int | None) -> None:
    tree = {"info": {"year": 2014}, "data": [ROW, ROW], "licenses": []}
    path = save(tmp_path / name, tree, indent=indent)
    for read in (read_examples, audit_file, read_metadata):
        with pytest.raises(
            UserError, match=r"is one object, with records inside at the key 'data'; save the list"
        ) as error:
            read(path)  # type: ignore[operator]
        assert str(error.value).startswith(f"{path}: ")


def test_one_record_over_several_lines(tmp_path: Path) -> None:
    for row in (ROW, talk("1", "How many cars?", "2")):
        with pytest.raises(UserError, match="is one object of several lines, not one record a line"):
            read_examples(save(tmp_path / "row.json", row, indent=1))
        assert len(read_examples(save(tmp_path / "row.json", row))) == 1


def test_a_list_inside_the_first_row_is_no_wrapping(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (ROW | {"boxes": [{"x": 1}]}, ROW)))
    assert len(read_examples(path)) == 2
    assert len(read_examples(save(path, ROW | {"boxes": [{"x": 1}]}))) == 1


def test_a_byte_order_mark_is_accepted_everywhere(tmp_path: Path) -> None:
    for name, text in (("m.jsonl", '{"image_id": "a.jpg"}\n'), ("m.json", '[{"image_id": "a.jpg"}]')):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert [record.image_id for record in read_metadata(tmp_path / name).records] == ["a.jpg"]
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode())
    assert len(read_examples(tmp_path / "rows.jsonl")) == 1


# ---- what can be allowed


def test_repeated_ids(tmp_path: Path) -> None:
    path = save(tmp_path / "mix.json", [talk(i, f"How many? {n}", "2") for n, i in enumerate(("1", "1", "1~2", "1"))])
    found = {one.code: one for one in audit(scan(path)).findings}
    assert (found["duplicate-id"].severity, found["duplicate-id"].count) == ("error", 2)
    with pytest.raises(UserError, match="id '1' is given in"):
        read_examples(path)
    allowed = read_examples(path, ("duplicate-id",))
    assert [example.id for example in allowed] == ["1", "1~2", "1~2~2", "1~3"]
    assert [example.question for example in allowed] == [f"How many? {n}" for n in range(4)]


def test_conversations_without_a_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "mix.json", [text_only("x"), talk("1", "How many cars?", "2"), text_only("y")])
    (one,) = audit(scan(path)).findings
    assert (one.code, one.severity, one.count) == ("text-only", "error", 2)
    assert one.examples[0].startswith(f"{path}: item 0: image is missing")
    with pytest.raises(UserError, match="item 0: image is missing"):
        read_examples(path)
    assert [example.id for example in read_examples(path, ("text-only",))] == ["1"]


CODES = ("duplicate-id", "linked-image", "text-only")


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    """An experiment on a test file that has one of each."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cache" / "blob.jpg")
    (tmp_path / "pictures" / "a.jpg").symlink_to(tmp_path / "cache" / "blob.jpg")
    rows = [talk("1", "How many cars?", "2"), talk("1", "How many people?", "3"), text_only("x")]
    save(tmp_path / "test.json", rows)
    return {
        "name": "x",
        "mode": "zero-shot",
        "output": str(tmp_path / "runs"),
        "data": {"test_file": str(tmp_path / "test.json"), "images": str(tmp_path / "pictures")},
        "models": [{"family": "llava"}],
    }


@pytest.mark.parametrize("missing", CODES)
def test_each_must_be_allowed_and_says_what_that_does(tree: dict[str, Any], missing: str) -> None:
    experiment = check_experiment(tree, "x.yaml").allowing([code for code in CODES if code != missing])
    with pytest.raises(UserError, match=rf"mend it, or say ALLOW={missing} \(\w") as error:
        check_inputs(experiment, "x.yaml")
    assert "\n" not in str(error.value)


def test_allowed_they_are_remarked_upon(tree: dict[str, Any]) -> None:
    remarks = check_inputs(check_experiment(tree, "x.yaml").allowing(CODES), "x.yaml")
    told = [next(remark for remark in remarks if f"[{code}]; allowed: " in remark) for code in CODES]
    assert "~2" in told[0] and "is read" in told[1] and "left out" in told[2]


# ---- messages


def test_a_relative_path_says_what_it_is_relative_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"no\.jsonl: no such file, looked for from {tmp_path}"):
        list(RowFile.of(Path("no.jsonl")).chunks())
    with pytest.raises(UserError, match=rf"no such file, looked for from {tmp_path}"):
        read_tree(Path("no.yaml"))
    Path("pictures").mkdir()
    path = save(tmp_path / "rows.json", [ROW])
    (one,) = audit(scan(path), images=Path("pictures")).findings
    assert f"pictures/a.jpg: no such picture, looked for from {tmp_path}" in one.examples[0]
    with pytest.raises(UserError, match=r"absent\.jsonl: no such file$"):
        read_examples(tmp_path / "absent.jsonl")


@pytest.mark.parametrize("key", ["answer", "subtype", "image_id"])
def test_a_long_text_is_cut_in_a_message(tmp_path: Path, key: str) -> None:
    row = ROW | {"subtype": "count", key: "/" + "very " * 1000}
    result = audit(scan(save(tmp_path / "rows.json", [row])))
    assert "(5,0" in result.findings[0].examples[0] and len(result.findings[0].examples[0]) < 600
    for one in result.findings:
        if one.severity == "error":
            with pytest.raises(UserError) as error:
                judged([result], ())
            assert len(str(error.value)) < 700


def test_allowed_they_go_through_plan_and_the_list_of_inputs(
    tree: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.yaml").write_text(json.dumps(tree))
    assert main(["plan", str(tmp_path / "x.yaml"), "--allow", "text-only,linked-image"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    experiment = check_experiment(tree, "x.yaml").allowing(CODES)
    run = RunFolder.of(experiment)
    run.create()
    note_inputs(experiment, run)
    assert "a.jpg" in run.inputs_file.read_text()
    assert main(["plan", str(tmp_path / "x.yaml"), "--allow", ",".join(CODES)]) == 0
