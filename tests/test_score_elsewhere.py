"""Questions given to other programs, and their answers: by id, by image and question, by ids that once counted rows."""

import csv
import json
import random
from dataclasses import replace

import pytest

from urbanvlm.cli import main
from urbanvlm.dataset.read import each_former_id, read_examples
from urbanvlm.errors import UserError
from urbanvlm.evaluate.former_ids import FormerIds
from urbanvlm.evaluate.predictions import merge_predictions, read_predictions
from urbanvlm.records import Prediction, dataset_fingerprint

QUESTIONS = [
    ("a.jpg", "Is there a bus?", "Yes", "presence.binary"),
    ("a.jpg", "How many cars?", "3", "count"),
    ("b.jpg", "Is there a bus?", "No", "presence.binary"),
    ("b.jpg", "Are there trees, or “greens”;\tor none?", "Yes", "object.cooccurrence"),
    ("b.jpg", "How deep is it?", "high", "depth.range.label"),
]


def questions(path, rows=QUESTIONS):
    keys = ("image_id", "question", "answer", "subtype")
    lines = [json.dumps(dict(zip(keys, row, strict=True)) | {"qtype": "perceptual"}) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def score(capsys, *arguments):
    """(exit code, subtype -> (score, rows scored), stderr)."""
    code = main(["score", "--json", *map(str, arguments)])
    out, err = capsys.readouterr()
    found = {s["name"]: (s["value"], s["scored"]) for s in json.loads(out or "[]") if s["level"] == "subtype"}
    return code, found, err


@pytest.fixture
def data(tmp_path):
    return questions(tmp_path / "data.jsonl")


RIGHT = {"presence.binary": (1, 2), "count": (0, 1), "object.cooccurrence": (1, 1), "depth.range.label": (1, 1)}


@pytest.mark.parametrize("by", [["example_id"], ["image_id", "question"], ["example_id", "image_id", "question"]])
@pytest.mark.parametrize("ending", ["jsonl", "csv", "semicolons.csv"])
def test_what_is_asked_can_be_answered_elsewhere(by, ending, data, tmp_path, capsys):
    asked = tmp_path / f"asked.{ending}"
    assert main(["ask", str(data), "--output", str(asked)]) == 0
    assert capsys.readouterr().out == f"{asked}: 5 questions about 2 pictures\n"
    if ending == "jsonl":
        rows = [json.loads(line) for line in asked.read_text().splitlines()]
    else:
        rows = list(csv.DictReader(asked.open(newline="")))
    assert [list(row) for row in rows] == [["example_id", "image_id", "question", "prompt"]] * 5
    assert all(row["prompt"].startswith(" ".join(row["question"].split())) for row in rows)
    assert any(len(row["prompt"]) > len(row["question"]) for row in rows)
    answers = {(image, question): answer for image, question, answer, _ in QUESTIONS}
    said = [{key: row[key] for key in by} | {"text": answers[row["image_id"], row["question"]]} for row in rows]
    random.Random(0).shuffle(said)
    answered = tmp_path / f"answered.{ending}"
    if ending == "jsonl":
        lines(answered, said)
    else:
        with answered.open("w", newline="", encoding="utf-8-sig") as out:
            writer = csv.DictWriter(out, [*by, "text"], delimiter=";" if "semicolons" in ending else ",")
            writer.writeheader()
            writer.writerows(said)
    assert score(capsys, answered, "--data", data) == (0, RIGHT, "")


def test_rows_that_nothing_scores_are_not_asked(tmp_path, capsys):
    data = questions(tmp_path / "data.jsonl", [*QUESTIONS, ("c.jpg", "How many?", "lots", "count")])
    asked = tmp_path / "asked.jsonl"
    assert main(["ask", str(data), "--output", str(asked)]) == 0
    assert "1 row left out, because nothing scores them, first: example c.jpg#" in capsys.readouterr().out
    assert len(asked.read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("output", "words"),
    [("data.jsonl", "is read here as well"), ("asked.txt", "is neither .jsonl nor .csv"), ("no/a.csv", "cannot be")],
)
def test_what_cannot_be_written_is_refused(output, words, data, tmp_path, capsys):
    before = data.read_text()
    assert main(["ask", str(data), "--output", str(tmp_path / output)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and words in err
    assert data.read_text() == before
    assert list(tmp_path.iterdir()) == [data]


def test_ids_stay_when_a_file_is_split_or_put_in_another_order(data, tmp_path):
    whole = {(e.image_id, e.question): e.id for e in read_examples(data)}
    parts = [QUESTIONS[3:], QUESTIONS[:3][::-1]]
    split = [read_examples(questions(tmp_path / f"{n}.jsonl", rows)) for n, rows in enumerate(parts)]
    assert {(e.image_id, e.question): e.id for part in split for e in part} == whole
    assert len(set(whole.values())) == len(QUESTIONS)


FORMER = ["a.jpg#0", "a.jpg#1", "b.jpg#0", "b.jpg#1", "b.jpg#2"]
TEXTS = [answer for _, _, answer, _ in QUESTIONS]


def former_fingerprint(path):
    return dataset_fingerprint(replace(example, id=former) for former, example in each_former_id(path))


def test_predictions_by_number_of_their_row_are_read_with_a_remark(data, tmp_path, capsys):
    rows = [{"example_id": id_, "text": text} for id_, text in zip(FORMER, TEXTS, strict=True)]
    code, found, err = score(capsys, lines(tmp_path / "said.jsonl", rows), "--data", data)
    assert (code, found) == (0, RIGHT)
    assert err.startswith("5 predictions say by a number which row of an image they answer, such as 'a.jpg#0'")


def test_they_need_no_remark_where_they_say_what_was_asked(data, tmp_path, capsys):
    fingerprint = former_fingerprint(data)
    known = [{"example_id": i, "text": t, "dataset": fingerprint} for i, t in zip(FORMER, TEXTS, strict=True)]
    assert score(capsys, lines(tmp_path / "known.jsonl", known), "--data", data) == (0, RIGHT, "")
    told = [{"example_id": i, "text": t, "question": q[1]} for i, t, q in zip(FORMER, TEXTS, QUESTIONS, strict=True)]
    assert score(capsys, lines(tmp_path / "told.jsonl", told), "--data", data) == (0, RIGHT, "")


def test_they_never_answer_another_question(data, tmp_path, capsys):
    """The file was split: b.jpg#1 of all questions is none of this part, or another."""
    part = questions(tmp_path / "part.jsonl", QUESTIONS[3:])
    known = [{"example_id": "b.jpg#1", "text": "Yes", "dataset": former_fingerprint(data)}]
    told = [{"example_id": "b.jpg#1", "text": "Yes", "question": QUESTIONS[3][1]}]
    for name, rows, words in (("known", known, "answers another dataset"), ("told", told, "but 'b.jpg#1' in")):
        code, found, err = score(capsys, lines(tmp_path / f"{name}.jsonl", rows), "--data", part)
        assert (code, found, err.count("\n")) == (2, {}, 1) and words in err


def test_a_run_that_was_evaluated_before_can_be_reported(data, tmp_path):
    examples, fingerprint = read_examples(data), former_fingerprint(data)
    rows = [Prediction(i, t, "m", "h", fingerprint).to_json() for i, t in zip(FORMER, TEXTS, strict=True)]
    merged = merge_predictions(examples, [lines(tmp_path / "shard.jsonl", rows)], FormerIds(data))
    assert [merged[example.id].text for example in examples] == TEXTS


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"image_id": "a.jpg", "question": "Is there a tram?"}, "asks 'Is there a tram?' about 'a.jpg'"),
        ({"image_id": "c.jpg", "question": "Is there a bus?"}, "no row of"),
        ({"image_id": "a.jpg"}, "question is missing"),
        ({"question": "Is there a bus?"}, "image_id is missing"),
        ({"image_id": "a.jpg", "question": 3}, "question is no text"),
        ({}, "example_id is missing"),
    ],
)
def test_an_answer_to_no_question_is_refused(row, words, data, tmp_path, capsys):
    code, _, err = score(capsys, lines(tmp_path / "said.jsonl", [row | {"text": "yes"}]), "--data", data)
    assert (code, err.count("\n")) == (2, 1) and words in err and "said.jsonl:1" in err


def test_two_rows_that_ask_the_same_are_told_apart_by_id_alone(tmp_path, capsys):
    data = questions(tmp_path / "data.jsonl", [*QUESTIONS, ("a.jpg", "How many cars?", "4", "count")])
    said = [{"image_id": "a.jpg", "question": "How many cars?", "text": "4"}]
    code, _, err = score(capsys, lines(tmp_path / "said.jsonl", said), "--data", data)
    assert code == 2 and "2 rows of" in err and "give example_id, such as 'a.jpg#" in err
    ids = [example.id for example in read_examples(data) if example.question == "How many cars?"]
    assert ids[1] == f"{ids[0]}-2"


@pytest.mark.parametrize("content", [b'example_id,text\n"a.jpg#0,yes\n', b"example_id,text\n\xff,yes\n", b""])
def test_a_broken_spreadsheet_is_named(content, data, tmp_path, capsys):
    path = tmp_path / "said.csv"
    path.write_bytes(content)
    code, _, err = score(capsys, path, "--data", data)
    assert (code, err.count("\n")) == (2, 1) and "said.csv" in err


def test_a_model_from_elsewhere_has_no_phase(data, tmp_path, capsys):
    said = lines(tmp_path / "said.jsonl", [{"example_id": e.id, "text": e.answer} for e in read_examples(data)])
    for arguments, phase in (([], ""), (["--phase", "after"], "after")):
        assert main(["score", str(said), "--data", str(data), "--json", *arguments]) == 0
        assert {score["phase"] for score in json.loads(capsys.readouterr().out)} == {phase}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("example_id,text\na#1,Yes\na#2,Yes, there is a bus\n", "said.csv:3: has more cells than the head; put text"),
        ('example_id,text\na#1,yes\na#2,"yes\na#3,no\na#4,no\n', "said.csv:3: not CSV"),
    ],
)
def test_a_cell_that_does_not_end_where_it_seems_is_named(content, words, tmp_path):
    (tmp_path / "said.csv").write_text(content)
    with pytest.raises(UserError) as error:
        list(read_predictions(tmp_path / "said.csv"))
    assert words in str(error.value)


def test_empty_cells_beyond_the_head_are_a_spreadsheets(data, tmp_path, capsys):
    said = tmp_path / "said.csv"
    rows = [f"{e.id};{e.answer};;" for e in read_examples(data) if ";" not in e.id]
    said.write_text("\n".join(["example_id;text", *rows]) + "\n")
    assert score(capsys, said, "--data", data) == (0, RIGHT, "")


def test_one_answer_with_a_list_inside_is_a_row(data, tmp_path, capsys):
    example = read_examples(data)[0]
    said = lines(tmp_path / "said.json", [{"example_id": example.id, "text": "yes", "choices": [{"text": "yes"}]}])
    code, found, _ = score(capsys, said, "--data", data)
    assert (code, found["presence.binary"][1]) == (0, 1)


def test_what_a_run_allows_is_allowed_here(tmp_path, capsys):
    keys = ("id", "image_id", "question", "answer", "subtype", "qtype")
    rows = [dict(zip(keys, ("1", *row, "perceptual"), strict=True)) for row in QUESTIONS]
    data, asked = lines(tmp_path / "data.jsonl", rows), tmp_path / "asked.jsonl"
    assert main(["ask", str(data), "--output", str(asked)]) == 2
    assert main(["ask", str(data), "--output", str(asked), "--allow", "duplicate-id"]) == 0
    ids = [json.loads(line)["example_id"] for line in asked.read_text().splitlines()]
    assert len(set(ids)) == 5
    said = lines(tmp_path / "said.jsonl", [{"example_id": i, "text": t} for i, t in zip(ids, TEXTS, strict=True)])
    capsys.readouterr()
    assert score(capsys, said, "--data", data)[0] == 2
    assert score(capsys, said, "--data", data, "--allow", "duplicate-id,text-only") == (0, RIGHT, "")
    code, _, err = score(capsys, said, "--data", data, "--allow", "nan")
    assert (code, err.count("\n")) == (2, 1) and err.startswith("--allow: nan cannot be allowed")


def test_former_ids_leave_out_what_is_allowed(data, tmp_path):
    talk = {"id": "x", "conversations": [{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": "Hello."}]}
    (tmp_path / "more.jsonl").write_text(json.dumps(talk) + "\n" + data.read_text())
    assert [former for former, _ in each_former_id(tmp_path / "more.jsonl", ["text-only"])] == FORMER
