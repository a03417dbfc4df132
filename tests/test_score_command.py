"""`python -m urbanvlm score` as a user meets it: real files, real processes, what they print, write and refuse."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from urbanvlm.records import Example, dataset_fingerprint, own_id

ROOT = Path(__file__).parents[1]
QUESTIONS = [
    ("image_1_heading0.jpg", "Is there a bus?", "Yes", "presence.binary"),
    ("image_1_heading0.jpg", "How many cars?", "3", "count"),
    ("image_1_heading90.jpg", "Is there a bus?", "No", "presence.binary"),
    ("image_2_heading0.jpg", "Is there a car?", "Yes", "paraphrase.from_presence.binary"),
    ("image_2_heading0.jpg", "How deep is it?", "high", "depth.range.label"),
    ("image_3_heading0.jpg", "Is there a bench?", "No", "presence.binary"),
]
IDS = [own_id(image, question, subtype) for image, question, _, subtype in QUESTIONS]
SIDES = ("image_4_heading0.jpg", "On which side are the trees?", "Yes", "spatial.distribution.label")
SIDES_ID = own_id(SIDES[0], SIDES[1], SIDES[3])
TEXTS = ["Yes, a bus.", "three", "No bus is visible", "I cannot say", "Answer: high", "No"]


def question_rows(questions=QUESTIONS):
    keys = ("image_id", "question", "answer", "subtype")
    return [dict(zip(keys, row, strict=True)) | {"qtype": "perceptual"} for row in questions]


def write(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def answers(ids=IDS, texts=TEXTS, **more):
    return [{"example_id": id_, "text": text} | more for id_, text in zip(ids, texts, strict=True)]


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data.jsonl", question_rows())


@pytest.fixture
def predictions(tmp_path):
    return write(tmp_path / "said.jsonl", answers())


def score(*arguments, columns=100):
    return subprocess.run(
        [sys.executable, "-m", "urbanvlm", "score", *map(str, arguments)],
        cwd=ROOT,
        env={"PATH": "", "COLUMNS": str(columns), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_scores_as_json_and_rows(data, predictions, tmp_path):
    out = tmp_path / "rows.jsonl"
    done = score(predictions, "--data", data, "--json", "--rows", out)
    assert (done.returncode, done.stderr) == (0, "")
    scores = {(row["level"], row["name"]): row for row in json.loads(done.stdout) if row["average"] != "weighted"}
    presence = scores["metric", "object.presence"]
    assert presence["value"] == pytest.approx(2 / 3, abs=1e-6), "one of two found, and nothing in vain"
    assert (presence["scored"], presence["asked"], presence["unparsed_share"]) == (3, 4, 0.25)
    assert (presence["model"], presence["profile"], presence["images"]) == ("said", "strict", "real")
    assert scores["metric", "object.count"]["value"] == 0
    assert scores["subtype", "depth.range.label"]["value"] == 1
    assert scores["metric", "layout.binary"]["value"] is None
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [list(row) for row in rows] == [["example_id", "parsed", "status", "gold", "correct"]] * 6
    assert [tuple(row.values()) for row in rows] == [
        (IDS[0], "yes", "answer", "yes", True),
        (IDS[1], 3, "answer", 3, True),
        (IDS[2], "no", "answer", "no", True),
        (IDS[3], None, "unparsed", "yes", False),
        (IDS[4], "high", "answer", "high", True),
        (IDS[5], "no", "answer", "no", True),
    ]


def test_the_paper_profile_reads_the_same_texts_its_own_way(data, predictions, tmp_path):
    out = tmp_path / "rows.jsonl"
    done = score(predictions, "--data", data, "--profile", "paper", "--json", "--rows", out)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["parsed"] for row in rows] == ["yes", 3, "no", "no", "high", "no"]
    assert {row["profile"] for row in json.loads(done.stdout)} == {"paper"}


@pytest.mark.parametrize("columns", [48, 80, 120])
def test_the_table_fits_its_terminal(data, predictions, columns):
    done = score(predictions, "--data", data, columns=columns)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= columns
    line = next(line for line in done.stdout.splitlines() if line.strip().startswith("presence "))
    assert "0.667" in line and "–" in line
    assert ("lift" in done.stdout.splitlines()[0]) == (columns >= 80)
    assert "–" in done.stdout and "…" not in done.stdout


def test_missing_answers_are_said_and_count_as_wrong(data, tmp_path):
    some = write(tmp_path / "some.jsonl", answers()[1:])
    out = tmp_path / "rows.jsonl"
    done = score(some, "--data", data, "--rows", out)
    assert done.returncode == 0
    assert "1 of 6 rows have no prediction" in done.stdout
    first = json.loads(out.read_text().splitlines()[0])
    assert first == {"example_id": IDS[0], "parsed": None, "status": "missing", "gold": "yes", "correct": False}


def test_several_files_arrays_and_further_keys_are_read(data, tmp_path):
    first = write(tmp_path / "a.jsonl", ["", *answers(model_id="m", score=3)[:3], ""])
    second = tmp_path / "b.json"
    second.write_text(json.dumps(answers()[3:]))
    done = score(first, second, "--data", data, "--json", "--model", "both")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert sum(row["asked"] for row in rows if row["level"] == "subtype") == 6
    assert {row["model"] for row in rows} == {"both"}


def test_the_blind_baseline_is_that_of_the_training_split(data, predictions, tmp_path):
    train = write(tmp_path / "train.jsonl", question_rows([("t.jpg", "How many cars?", "5", "count")]))
    counts = {}
    for name, arguments in (("with", ["--train", train]), ("without", [])):
        done = score(predictions, "--data", data, "--json", *arguments)
        counts[name] = next(row for row in json.loads(done.stdout) if row["name"] == "object.count")
    assert (counts["with"]["blind_baseline"], counts["with"]["lift"]) == (2, 2)
    assert counts["without"]["blind_baseline"] == 0
    assert "for want of --train" in " ".join(score(predictions, "--data", data).stdout.split())


def test_rows_that_nobody_could_answer_rightly_are_named_and_not_scored(tmp_path):
    questions = [*QUESTIONS, SIDES]
    data = write(tmp_path / "data.jsonl", question_rows(questions))
    said = write(tmp_path / "said.jsonl", answers([*IDS, SIDES_ID], [*TEXTS, "left side"]))
    out = tmp_path / "rows.jsonl"
    done = score(said, "--data", data, "--rows", out)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "1 row not scored" in words and "gold answer 'Yes'" in words
    last = json.loads(out.read_text().splitlines()[-1])
    expected = {"example_id": SIDES_ID, "parsed": "left side", "status": "answer"}
    assert last == expected | {"gold": None, "correct": None}


def test_predictions_of_this_dataset_are_told_from_those_of_another(data, tmp_path):
    rows = [
        Example(id_, image, "", question, answer, "", subtype)
        for id_, (image, question, answer, subtype) in zip(IDS, QUESTIONS, strict=True)
    ]
    mine = write(tmp_path / "mine.jsonl", answers(dataset=dataset_fingerprint(rows[::-1])))
    assert score(mine, "--data", data).returncode == 0
    other = write(tmp_path / "other.jsonl", answers(dataset=dataset_fingerprint(rows[1:])))
    refused(score(other, "--data", data), "other.jsonl:1: answers another dataset than")
    late = write(tmp_path / "late.jsonl", [*answers()[:2], *answers(dataset="0" * 16)[2:]])
    refused(score(late, "--data", data), "late.jsonl:3: answers another dataset than")


def refused(done, words):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and words in done.stderr, done.stderr


BROKEN = {
    "unknown id": ([*answers(), {"example_id": "z", "text": "no"}], "said.jsonl:7: no example 'z'"),
    "two answers": ([*answers(), answers()[1]], "said.jsonl:7: second answer to '" + IDS[1] + "' (first: "),
    "broken line": (['{"example_id": "a"', *answers()], "said.jsonl:1: not JSON"),
    "NaN": ([*answers()[:2], '{"example_id": "a", "text": NaN}'], "said.jsonl:3: holds NaN"),
    "no text": ([{"example_id": IDS[0]}], "said.jsonl:1: text is missing"),
    "no id": ([{"text": "yes"}], "said.jsonl:1: example_id is missing"),
    "number for text": ([{"example_id": IDS[1], "text": 3}], "said.jsonl:1: text is no text"),
    "no object": (["[1, 2]"], "said.jsonl:1: not a JSON object"),
    "an array": ([json.dumps(answers())], "a file that is one JSON array is named .json"),
    "nothing": ([], "said.jsonl: has no predictions"),
    "half a character": (['{"example_id": "a", "text": "\\ud83d"}'], "said.jsonl:1: text holds half of a character"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_predictions_is_named(case, data, tmp_path):
    rows, words = BROKEN[case]
    out = tmp_path / "rows.jsonl"
    out.write_text("as it was\n")
    done = score(write(tmp_path / "said.jsonl", rows), "--data", data, "--rows", out)
    refused(done, words)
    assert out.read_text() == "as it was\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl", "rows.jsonl", "said.jsonl"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (['{"image_id": '], "data.jsonl:1: not JSON"),
        ([*question_rows(), *question_rows([("../../up.jpg", "Is it?", "Yes", "presence.binary")])], "data.jsonl:7: "),
        (question_rows([("a.jpg", "Is it?", "Yes", "presence.binry")]), "did you mean presence.binary?"),
        ([row | {"id": "same"} for row in question_rows()[:2]], "data.jsonl:2: id 'same' is given in"),
        (question_rows([("a.jpg", "How many?", "lots", "count")]), "has no row whose answer fits its subtype"),
    ],
)
def test_what_is_wrong_with_questions_is_named(rows, words, predictions, tmp_path):
    refused(score(predictions, "--data", write(tmp_path / "data.jsonl", rows)), words)


def test_files_that_are_not_there_are_named(data, predictions, tmp_path):
    refused(score(tmp_path / "none.jsonl", "--data", data), "none.jsonl: no such file")
    refused(score(predictions, "--data", tmp_path / "none.jsonl"), "none.jsonl: no such file")
    refused(score(predictions, "--data", data, "--rows", tmp_path / "no" / "rows.jsonl"), "cannot be written")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(score(tmp_path / "loop", "--data", data), "loop: cannot be read (Too many levels of symbolic links)")
    refused(score(predictions, "--data", data, "--rows", tmp_path / ("a" * 300)), "cannot be written (File name too")
    refused(score(predictions, "--data", data, "--rows", predictions), "said.jsonl: is read here as well")
    for folder in (tmp_path, Path()):
        refused(score(predictions, "--data", data, "--rows", folder), "is a folder; --rows takes a file")


def test_a_pipe_is_refused_rather_than_read_twice_or_replaced(data, predictions, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused(score(pipe, "--data", data), "pipe: is a pipe or a device; save what it gives to a file")
    refused(score(predictions, "--data", pipe), "pipe: is a pipe or a device")
    refused(score(predictions, "--data", data, "--rows", pipe), "pipe: is a pipe or a device; --rows takes a file")
    assert pipe.is_fifo()


def test_rows_are_written_to_where_a_link_leads(data, predictions, tmp_path):
    link, target = tmp_path / "link.jsonl", tmp_path / "target.jsonl"
    link.symlink_to(target)
    assert score(predictions, "--data", data, "--rows", link).returncode == 0
    assert link.is_symlink() and len(target.read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--profile", "kind", "'kind'"),
        ("--resamples", "0", "--resamples: must be a whole number from 1 on (got '0')"),
        ("--seed", "one", "--seed: must be a whole number from 0 on (got 'one')"),
    ],
)
def test_options_that_cannot_be_are_named(option, value, words, data, predictions):
    wrong = score(predictions, "--data", data, option, value)
    assert wrong.returncode == 2 and words in wrong.stderr.splitlines()[-1]


def test_programs_are_told_too_what_is_not_scored_or_not_answered(tmp_path):
    data = write(tmp_path / "data.jsonl", question_rows([*QUESTIONS, SIDES]))
    done = score(write(tmp_path / "some.jsonl", answers()[1:]), "--data", data, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)
    missing, unscored = done.stderr.splitlines()
    assert missing.startswith("1 of 6 rows have no prediction")
    assert unscored.startswith(f"{data}: 1 row not scored, first: example {SIDES_ID}")


def test_a_reader_who_has_seen_enough_is_no_bug(data, predictions):
    command = [sys.executable, "-m", "urbanvlm", "score", predictions, "--data", data, "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_the_same_files_give_the_same_bytes(data, predictions):
    first, second = (score(predictions, "--data", data, "--json", "--seed", 1).stdout for _ in range(2))
    assert first == second
