"""One shard of predictions: fixed order, resume after any cut, and refusal of answers that do not belong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from train_support import make_questions, make_run

from urbanvlm.dataset.prompts import load_prompts, prompt_hash
from urbanvlm.dataset.read import read_examples
from urbanvlm.errors import UserError
from urbanvlm.evaluate.predict import predict
from urbanvlm.progress import Progress
from urbanvlm.run_folder import RunFolder, is_complete

SILENT = Progress(None, total=0, unit="examples")


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    make_questions(folder)
    return folder


@pytest.fixture(scope="module")
def whole(questions: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an undisturbed shard of 10 examples in batches of 4."""
    run = make_run(tmp_path_factory.mktemp("runs") / "whole", questions)
    answer(run)
    return run.shard_file("llava", "before", 0).read_bytes()


def answer(run: RunFolder, shard: int = 0, phase: str = "before") -> list[dict[str, Any]]:
    predict(run, run.experiment.models[0], phase, shard, SILENT)
    file = run.shard_file("llava", phase, shard)
    assert is_complete(file)
    return [json.loads(line) for line in file.read_text().splitlines()]


def begun(path: Path, questions: Path, content: bytes) -> RunFolder:
    """A run whose shard holds these bytes, without a marker."""
    run = make_run(path, questions)
    file = run.shard_file("llava", "before", 0)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return run


def test_every_example_is_answered_once_in_order(questions: Path, whole: bytes) -> None:
    rows = [json.loads(line) for line in whole.splitlines()]
    examples = read_examples(questions / "test.jsonl")
    assert [row["example_id"] for row in rows] == [e.id for e in examples]
    prompts = load_prompts(None)
    assert [row["prompt_hash"] for row in rows] == [prompt_hash(prompts.render(e, False)) for e in examples]
    assert {row["model_id"] for row in rows} == {"llava/tiny@seed0"}
    assert any(row["text"] for row in rows)


@pytest.mark.parametrize("share", [0.0, 0.09, 0.45, 0.85, 0.999])
def test_a_shard_cut_anywhere_ends_with_the_same_bytes(
    share: float, tmp_path: Path, questions: Path, whole: bytes
) -> None:
    run = begun(tmp_path / "run", questions, whole[: int(len(whole) * share)])
    answer(run)
    assert run.shard_file("llava", "before", 0).read_bytes() == whole


def test_a_last_line_without_its_end_is_done_again(tmp_path: Path, questions: Path, whole: bytes) -> None:
    run = begun(tmp_path / "run", questions, whole[:-1])
    answer(run)
    assert run.shard_file("llava", "before", 0).read_bytes() == whole


def test_shards_are_disjoint_and_cover(tmp_path: Path, questions: Path, whole: bytes) -> None:
    run = make_run(tmp_path / "run", questions, evaluate={"shards": 3})
    ids = [row["example_id"] for shard in range(3) for row in answer(run, shard)]
    assert ids == [json.loads(line)["example_id"] for line in whole.splitlines()]


def test_only_the_first_examples_where_asked(tmp_path: Path, questions: Path) -> None:
    run = make_run(tmp_path / "run", questions, evaluate={"max_examples": 3})
    assert [row["example_id"] for row in answer(run)] == [e.id for e in read_examples(questions / "test.jsonl")][:3]


def test_more_shards_than_examples_leaves_empty_ones(tmp_path: Path, questions: Path) -> None:
    run = make_run(tmp_path / "run", questions, evaluate={"max_examples": 1, "shards": 2})
    assert [len(answer(run, shard)) for shard in range(2)] == [0, 1]
    assert all(run.shard_file("llava", "before", shard).is_file() for shard in range(2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"example_id": "of another dataset"}, "of another dataset"),
        ({"example_id": "test-3"}, "a second time"),
        ({"prompt_hash": "0" * 16}, "another prompt"),
        ({"model_id": "llava/tiny@seed9"}, "was answered by llava/tiny@seed9"),
        ({"extra": 1}, "is no prediction"),
    ],
)
def test_an_answer_that_does_not_belong_is_refused_with_its_line(
    change: dict[str, Any], said: str, tmp_path: Path, questions: Path, whole: bytes
) -> None:
    lines = whole.splitlines(keepends=True)
    lines[1] = json.dumps(json.loads(lines[1]) | change).encode() + b"\n"
    run = begun(tmp_path / "run", questions, b"".join(lines[:4]))
    with pytest.raises(UserError, match=rf"shard-000-of-001.jsonl:2: .*{said}"):
        answer(run)


def test_a_broken_line_in_the_middle_is_an_error_not_a_loss(tmp_path: Path, questions: Path, whole: bytes) -> None:
    lines = whole.splitlines(keepends=True)
    run = begun(tmp_path / "run", questions, lines[0] + b'{"torn\n' + lines[2])
    with pytest.raises(UserError, match=r"jsonl:2: not JSON"):
        answer(run)


def test_after_needs_a_finished_training(tmp_path: Path, questions: Path) -> None:
    run = make_run(tmp_path / "run", questions)
    with pytest.raises(UserError, match="training is not finished"):
        answer(run, phase="after")


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    make_questions(tmp_path / "q", examples=8)
    (tmp_path / "q" / "images" / "image_000003_heading0.png").write_bytes(b"no picture")
    run = make_run(tmp_path / "run", tmp_path / "q")
    with pytest.raises(UserError, match="image_000003_heading0"):
        answer(run)
