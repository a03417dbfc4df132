"""Reading: the study's rows load unchanged, and every fault is one line that names the file and the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urbanvlm.dataset.images import check_images
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.evaluate.parse import parse_gold
from urbanvlm.records import Example

STUDY_ROWS = Path(__file__).parent / "fixtures" / "dataset" / "study_rows.jsonl"
PHOTOS = Path(__file__).parent.parent / "experiments" / "photos" / "questions.jsonl"
ROW = {
    "image_id": "a.jpg",
    "question": "Is there a car?",
    "answer": "Yes",
    "qtype": "perceptual",
    "subtype": "presence.binary",
}

Write = Callable[[list[Any]], Path]


@pytest.fixture(params=["jsonl", "array", "indented array"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    def to_file(rows: list[Any]) -> Path:
        path = tmp_path / ("rows.jsonl" if request.param == "jsonl" else "rows.json")
        if request.param == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            path.write_text("\n " + json.dumps(rows, indent=2 if "indented" in request.param else None))
        return path

    return to_file


def test_rows_of_the_study_load_unchanged() -> None:
    examples = read_examples(STUDY_ROWS)
    rows = [json.loads(line) for line in STUDY_ROWS.read_text().splitlines() if line]
    for example, row in zip(examples, rows, strict=True):
        written = example.to_json()
        assert {key: written.pop(key) for key in row} == row
        assert set(written) == {"id", "place"}
    assert [e.id for e in examples[:4]] == [
        "image_100200300_heading0.jpg#0",
        "image_100200300_heading0.jpg#1",
        "image_100200300_heading90#0",
        "image_100200300_heading0.jpg#2",
    ]
    assert {e.place for e in examples} == {"image_100200300", "image_77"}
    assert examples[5].scored_subtype == "presence.binary" and examples[5].subtype == "paraphrase.from_presence.binary"
    assert examples[5].extra == {"object": "bus", "paraphrased_by": {"model": "x", "round": 2}}
    assert examples[6].cot_answer is not None and examples[6].cot_answer.endswith("Answer: Yes")


def test_an_array_gives_what_the_lines_give(write: Write) -> None:
    rows = [json.loads(line) for line in STUDY_ROWS.read_text().splitlines() if line]
    assert read_examples(write(rows)) == read_examples(STUDY_ROWS)


def test_ids_and_places_of_the_row_are_kept(write: Write) -> None:
    first, second, third = read_examples(
        write([{**ROW, "id": "x", "place": "corner"}, ROW, {**ROW, "cot_answer": None}])
    )
    assert (first.id, first.place) == ("x", "corner")
    assert (second.id, second.place) == ("a.jpg#1", "a")
    assert (third.id, third.cot_answer) == ("a.jpg#2", None)


FAULTS: dict[str, tuple[Any, str]] = {
    **{f"no {key}": ({k: v for k, v in ROW.items() if k != key}, f"{key} is missing") for key in ROW},
    **{f"blank {key}": ({**ROW, key: " \t"}, f"{key} must be text that is not blank") for key in ROW},
    **{f"{key} a number": ({**ROW, key: 3}, rf"{key} must be text .*got 3") for key in ROW},
    **{f"{key} null": ({**ROW, key: None}, f"{key} must be text") for key in ROW},
    "answer a truth value": ({**ROW, "answer": True}, r"answer must be text .*got True"),
    "id a number": ({**ROW, "id": 7}, "id must be text"),
    "place blank": ({**ROW, "place": ""}, "place must be text"),
    "rationale a list": ({**ROW, "cot_answer": ["x"]}, "cot_answer must be text"),
    "rationale blank": ({**ROW, "cot_answer": " "}, "cot_answer must be text"),
    "subtype misspelt": ({**ROW, "subtype": "presence.binari"}, "'presence.binari'; did you mean presence.binary"),
    "paraphrase misspelt": ({**ROW, "subtype": "paraphrase.from_cuont"}, "'paraphrase.from_cuont'; did you mean count"),
    "subtype unheard of": ({**ROW, "subtype": "zzz"}, "unknown subtype 'zzz'"),
    "no object": ([1, 2], "not a JSON object"),
    "the id of a row before": ({**ROW, "id": "a.jpg#0"}, r"id 'a.jpg#0' is given in .* already"),
    **{
        f"image {image!r}": ({**ROW, "image_id": image}, "not a path inside the image folder")
        for image in ("/etc/passwd", "../a.jpg", "b/../../a.jpg", "..", ".", "a\0.jpg", "..\\a.jpg")
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_file_and_row(write: Write, fault: str) -> None:
    row, message = FAULTS[fault]
    path = write([ROW, row, ROW])
    where = f"{path}:2" if path.suffix == ".jsonl" else f"{path}: item 1"
    with pytest.raises(UserError, match=message) as error:
        read_examples(path)
    assert str(error.value).startswith(f"{where}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b"", "has no rows"),
        ("a.jsonl", b"\n \n", "has no rows"),
        ("a.json", b"[]", "has no rows"),
        ("a.jsonl", json.dumps(ROW).encode() + b"\n\n{torn", r"a\.jsonl:3: not JSON"),
        ("a.jsonl", b"[" + json.dumps(ROW).encode() + b"]", r"a\.jsonl:1: not a JSON object"),
        ("a.json", b"[\n{},\n{]", r"a\.json:3: not JSON"),
        ("a.jsonl", b"\xff\n", "not UTF-8"),
        ("a.json", b'["\xff"]', "not UTF-8"),
        ("a.json", b"[" + b"9" * 5000 + b"]", r"a\.json: not JSON that can be read"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_examples(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_examples(tmp_path / "absent.jsonl")
    with pytest.raises(UserError, match="is a folder"):
        read_examples(tmp_path)


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: text.strip())


@given(
    rows=st.lists(
        st.builds(
            Example,
            id=TEXT,
            image_id=st.sampled_from(("a", "b.jpg", "street/c.png", "image_7_heading90.jpg")),
            place=TEXT,
            question=TEXT,
            answer=TEXT,
            qtype=TEXT,
            subtype=st.sampled_from(sorted(SUBTYPES)).flatmap(lambda s: st.sampled_from((s, f"paraphrase.from_{s}"))),
            cot_answer=st.none() | TEXT,
            extra=st.dictionaries(st.sampled_from(("object", "factor", "more")), TEXT | st.integers() | st.none()),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda e: e.id,
    )
)
def test_what_is_written_is_read(rows: list[Example], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    path.write_text("".join(json.dumps(e.to_json()) + "\n" for e in rows))
    assert read_examples(path) == rows


def test_the_questions_about_photographs() -> None:
    """They can be scored, and both pictures are among those that scikit-learn ships."""
    examples = read_examples(PHOTOS)
    images = Path(str(resources.files("sklearn") / "datasets" / "images"))
    check_images(examples, images)
    assert {e.image_id for e in examples} == {"china.jpg", "flower.jpg"}
    assert all(parse_gold(e) is not None for e in examples)
    assert {e.answer for e in examples} >= {"Yes", "No"}
