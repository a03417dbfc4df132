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

from urbanvlm.dataset.images import image_faults
from urbanvlm.dataset.prompts import load_prompts
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.evaluate.parse import parse_gold
from urbanvlm.records import Example, own_id

STUDY_ROWS = Path(__file__).parent / "fixtures" / "dataset" / "study_rows.jsonl"
PHOTOS = Path(__file__).parent.parent / "experiments" / "photos" / "questions.jsonl"
ROW = {
    "image_id": "a.jpg",
    "question": "Is there a car?",
    "answer": "Yes",
    "qtype": "perceptual",
    "subtype": "presence.binary",
}

ID = own_id(ROW["image_id"], ROW["question"], ROW["subtype"])

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
    assert [e.id for e in examples] == [own_id(e.image_id, e.question, e.subtype) for e in examples]
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
    assert (second.id, second.place) == (ID, "a")
    assert (third.id, third.cot_answer) == (f"{ID}-2", None)


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
    "the id of a row before": ({**ROW, "id": ID}, rf"id '{ID}' is given in .* already"),
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


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    for name, text in (("a.jsonl", json.dumps(ROW) + "\r\n" + json.dumps(ROW)), ("a.json", json.dumps([ROW, ROW]))):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert [example.id for example in read_examples(tmp_path / name)] == [ID, f"{ID}-2"]


def test_many_rows_are_all_read_in_order(write: Write) -> None:
    """More than are held at once."""
    rows = [{**ROW, "image_id": f"image_{n}_heading0.jpg", "question": f"Question {n}?"} for n in range(1500)]
    assert [example.question for example in read_examples(write(rows))] == [row["question"] for row in rows]


# ---- conversations


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


def test_a_conversation_of_one_turn(write: Write) -> None:
    record = {"id": "c1", "image": "street/a.jpg", "conversations": turns("<image>\nIs there a car?", "Yes")}
    (example,) = read_examples(write([{**record, "subtype": "presence.binary", "object": "car", "source": "x"}]))
    assert example == Example(
        id="c1",
        image_id="street/a.jpg",
        place="street/a",
        question="Is there a car?",
        answer="Yes",
        qtype="perceptual",
        subtype="presence.binary",
        extra={"object": "car", "source": "x"},
    )
    assert parse_gold(example) == "yes"


def test_each_turn_is_an_example(write: Write) -> None:
    said = turns("What is nearest?\n<image>", "car", "How many are there?", "2", "Tell me more.", "A quiet street.")
    said[0] |= {"subtype": "depth.closest_object"}
    said[2] |= {"subtype": "paraphrase.from_count", "object": "car", "qtype": "own"}
    record = {"id": 7, "image": "image_3_heading0.jpg", "conversations": said, "place": "corner"}
    first, second, third = read_examples(write([record]))
    assert [e.id for e in (first, second, third)] == ["7#0", "7#1", "7#2"]
    assert (first.question, first.answer, first.subtype) == ("What is nearest?", "car", "depth.closest_object")
    assert (second.scored_subtype, second.qtype, second.extra) == ("count", "own", {"object": "car"})
    assert {e.place for e in (first, second, third)} == {"corner"}
    assert (third.subtype, third.qtype) == ("conversation", "conversation")


def test_a_turn_without_a_subtype_is_learnt_from_but_not_scored(write: Write) -> None:
    record = {"image": "a.jpg", "conversations": turns("Describe the street.", "A quiet one.", "And the sky?", "Grey.")}
    examples = read_examples(write([record, {**ROW}]))
    assert [e.id for e in examples] == [own_id("a.jpg", e.question, e.subtype) for e in examples]
    for example in examples[:2]:
        with pytest.raises(UserError, match="unknown subtype 'conversation'"):
            parse_gold(example)
    assert parse_gold(examples[2]) == "yes"
    prompts = load_prompts(None)
    assert prompts.render(examples[0], False) == "Describe the street."
    assert prompts.target(examples[0], False) == "A quiet one."


CONVERSATION_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no image": ({"image": None}, "image is missing"),
    "several images": ({"image": ["a.jpg", "b.jpg"]}, "image must be text"),
    "no turns": ({"conversations": []}, "must be a list of turns"),
    "no list": ({"conversations": "hello"}, "must be a list of turns"),
    "no answer": ({"conversations": turns("One?", "Yes", "Two?")}, "the last question has no answer"),
    "wrong order": ({"conversations": turns("One?", "Yes")[::-1]}, "turn 0 must be from human"),
    "a turn without a value": ({"conversations": [*turns("One?"), {"from": "gpt"}]}, "turn 1 has no value"),
    "a turn that is text": ({"conversations": ["One?", "Yes"]}, "turn 0 must be from human"),
    "nothing but the picture": (
        {"conversations": turns("<image>\n", "Yes")},
        "question must be text that is not blank",
    ),
    "unknown subtype": ({"subtype": "cuont"}, "did you mean count"),
    "a list of subtypes": ({"subtype": ["count"]}, "subtype must be text"),
    "image outside": ({"image": "../a.jpg"}, "not a path inside the image folder"),
}


@pytest.mark.parametrize("fault", CONVERSATION_FAULTS)
def test_a_faulty_conversation_is_named(write: Write, fault: str) -> None:
    change, message = CONVERSATION_FAULTS[fault]
    path = write([ROW, {"id": "c", "image": "a.jpg", "conversations": turns("One?", "Yes"), **change}])
    with pytest.raises(UserError, match=message) as error:
        read_examples(path)
    assert str(error.value).startswith(f"{path}:2: " if path.suffix == ".jsonl" else f"{path}: item 1: ")


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
    assert list(image_faults([e.image_id for e in examples], images)) == []
    assert {e.image_id for e in examples} == {"china.jpg", "flower.jpg"}
    assert all(parse_gold(e) is not None for e in examples)
    assert {e.answer for e in examples} >= {"Yes", "No"}
