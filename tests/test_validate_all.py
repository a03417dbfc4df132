"""`validate` shows every fault, alike ones together, and which answers are scored as another word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dataset_support import many_metadata

from urbanvlm.cli import main
from urbanvlm.dataset.audit import audit
from urbanvlm.dataset.findings import MOST_GROUPS, OTHERS, grouped
from urbanvlm.dataset.rules import drafts
from urbanvlm.dataset.scan import scan
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.evaluate.vocabulary import is_in_other_words


def write(path: Path, answers: list[str], subtype: str) -> Path:
    rows = [
        {"image_id": f"image_{n}_heading0.jpg", "question": f"{n}?", "answer": a, "qtype": "x", "subtype": subtype}
        for n, a in enumerate(answers)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_alike_faults_stand_together_and_none_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    path = write(tmp_path / "rows.jsonl", ["many"] * 12 + ["few", "some", "many"] + ["some"], "count")
    assert main(["validate", str(path)]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "rows.jsonl:1, 2, 3, 4, 5, 6, 7, 8 and 5 more, the last 15: answer 'many' is no integer" in shown
    assert "(count) (13 times)" in shown
    assert "rows.jsonl:14, 16: answer 'some' is no integer (count) (2 times)" in shown
    assert "rows.jsonl:13: answer 'few' is no integer" in shown
    assert main(["validate", str(path), "--json"]) == 1
    (one,) = json.loads(capsys.readouterr().out)["findings"]
    assert [group["places"] for group in one["groups"]] == [[*range(1, 13), 15], [14, 16], [13]]
    assert one["examples"][4].startswith(f"{path}:5: "), "the first five, for programs of before"


def test_a_long_list_is_cut_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "rows.jsonl", [f"word{n}" for n in range(30)], "count")
    assert main(["validate", str(path)]) == 1
    out = capsys.readouterr().out
    assert "word19" in out and "word20" not in out and "and 10 more: --json lists all" in out
    assert main(["validate", str(path), "--json"]) == 1
    assert "word29" in capsys.readouterr().out


def test_very_many_different_words_are_kept_as_places() -> None:
    groups = grouped((n, f"word {n}") for n in range(MOST_GROUPS + 5))
    assert len(groups) == MOST_GROUPS + 1
    assert groups[-1].what == OTHERS and groups[-1].numbers == tuple(range(MOST_GROUPS, MOST_GROUPS + 5))


@pytest.mark.parametrize(
    ("subtype", "answer", "value"),
    [
        ("depth.closest_object", "plant", "tree"),
        ("depth.closest_object", "tram", "train"),
        ("depth.closest_object", "Automobile", "car"),
        ("depth.range.label", "very deep", "high"),
        ("depth.range", "very complex", "yes"),
        ("count", "two", "2"),
    ],
)
def test_answers_that_are_taken_as_others_are_counted(tmp_path: Path, subtype: str, answer: str, value: str) -> None:
    path = write(tmp_path / "rows.jsonl", [answer] * 2, subtype)
    (one,) = (found for found in audit(scan(path)).findings if found.code == "other-words")
    assert (one.severity, one.count) == ("note", 2)
    assert [group.what for group in one.groups] == [f"answer {answer!r} is scored as {value} ({subtype})"]


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("Tree.", "tree"),
        ("trees", "tree"),
        ("a bus", "bus"),
        ("buses", "bus"),
        ("benches", "bench"),
        ("Traffic lights", "traffic light"),
        ("people", "person"),
        ("left side", "left side"),
        ("Yes, there is", "yes"),
        ("0.5", 0.5),
        ("12 m", 12.0),
        ("40 %", 0.4),
        ("zzz", None),
    ],
)
def test_the_same_word_is_no_other(answer: str, value: object) -> None:
    assert not is_in_other_words(answer, value)


def test_answers_of_our_own_are_no_other_words(tmp_path: Path) -> None:
    answers: dict[str, set[str]] = {}
    for record in many_metadata(4):
        for draft in drafts(record, SUBTYPES, 0):
            answers.setdefault(draft.subtype, set()).add(draft.answer)
    for subtype, written in answers.items():
        path = write(tmp_path / "rows.jsonl", sorted(written), subtype)
        noted = [one.groups for one in audit(scan(path)).findings if one.code == "other-words"]
        assert noted == [], subtype
