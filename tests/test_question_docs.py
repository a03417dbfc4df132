"""docs/questions.md says of every subtype and every field what the code does with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from urbanvlm.cli import main
from urbanvlm.dataset.audit import audit
from urbanvlm.dataset.document import DOCUMENT, FIELD_MEANINGS, MEANINGS, SAMPLE, example_rows, fill_document
from urbanvlm.dataset.metadata import FIELDS
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.scan import scan
from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES, suggest_subtype
from urbanvlm.errors import UserError
from urbanvlm.generated import fill


def test_the_document_is_up_to_date() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert fill_document(text) == text, "run `.venv/bin/python -m urbanvlm question-docs`"
    assert all(f"\n| `{name}` | " in text for name in (*SUBTYPES, *FIELD_MEANINGS))
    assert all(f"`{metric}`" in text for metric in METRICS)


def test_every_subtype_and_every_field_has_a_meaning() -> None:
    assert list(MEANINGS) == list(SUBTYPES)
    assert {name.split(".")[0] for name in FIELD_MEANINGS} == set(FIELDS)


def test_the_rows_of_the_document_can_be_scored(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(example_rows().values()))
    assert sorted(example.subtype for example in read_examples(path)) == sorted(SUBTYPES)
    result = audit(scan(path))
    assert not [one for one in result.findings if one.severity == "error" or one.code == "answer-outside-set"]
    assert sum(labels.rows for labels in result.labels) == len(SUBTYPES)


def test_the_sample_makes_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["questions", str(SAMPLE), "--out", str(tmp_path), "--split", "none", "--subtypes", "depth.range"]
    assert main(arguments) == 0, capsys.readouterr().err
    assert "Keys that no question uses" not in capsys.readouterr().out
    answers = {example.answer for example in read_examples(tmp_path / "test.jsonl")}
    assert answers == {"Complex", "Simple"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("object.presence", "that is a metric, of the subtypes presence.binary; docs/questions.md"),
        ("paraphrase.from_object.count", "that is a metric, of the subtypes count; docs/questions.md"),
        ("depth.binary", "depth.range, depth.variation, depth.foreground_presence, depth.background_presence"),
        ("presence.binari", "did you mean presence.binary? docs/questions.md"),
        ("zzz", "docs/questions.md explains all"),
    ],
)
def test_an_unknown_subtype_is_told_where_all_are(tmp_path: Path, wrong: str, words: str) -> None:
    assert words in suggest_subtype(wrong)
    row = {"image_id": "a.jpg", "question": "A car?", "answer": "Yes", "qtype": "x", "subtype": wrong}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(UserError, match=re.escape(words)) as error:
        read_examples(path)
    assert "only learnt from may be a conversation" in str(error.value)
    path.write_text(json.dumps(row | {"subtype": "conversation"}))
    assert len(read_examples(path)) == 1
    del row["subtype"]
    path.write_text(json.dumps(row))
    with pytest.raises(UserError, match=r"subtype is missing; docs/questions\.md lists them"):
        read_examples(path)


def test_marks_that_are_missing_are_named() -> None:
    assert fill("a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb", "x", "new", "d.md").split("\n")[2] == "new"
    for text in ("", "<!-- x:begin -->", "<!-- x:end --><!-- x:begin -->"):
        with pytest.raises(UserError, match="put the two lines back"):
            fill(text, "x", "new", "d.md")
