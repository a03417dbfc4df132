"""One shard of predictions: fixed order, resume after any cut, and refusal of answers that do not belong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from train_support import make_questions, make_run

from urbanvlm.dataset.prompts import load_prompts, prompt_hash
from urbanvlm.dataset.read import read_examples
from urbanvlm.errors import UserError
from urbanvlm.evaluate.predict import predict
from urbanvlm.evaluate.unseen import shuffled_images
from urbanvlm.experiment import Images
from urbanvlm.progress import Progress
from urbanvlm.records import Example
from urbanvlm.run_folder import RunFolder, completion_facts, is_complete

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


def answer(run: RunFolder, shard: int = 0, phase: str = "before", images: Images = "real") -> list[dict[str, Any]]:
    predict(run, run.experiment.models[0], phase, shard, SILENT, images=images)
    file = run.shard_file("llava", phase, shard, images)
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


class TestWithoutSeeing:
    """`evaluate.images`: what is shown instead of the picture, and that its answers are never taken for seeing ones."""

    @staticmethod
    def texts(rows: list[dict[str, Any]]) -> list[str]:
        return [row["text"] for row in rows]

    def test_blank_answers_as_if_every_picture_were_grey(self, tmp_path: Path, questions: Path, whole: bytes) -> None:
        blank = answer(make_run(tmp_path / "run", questions), images="blank")
        shutil.copytree(questions, tmp_path / "grey")
        for picture in (tmp_path / "grey" / "images").iterdir():
            Image.new("RGB", Image.open(picture).size, (128, 128, 128)).save(picture)
        assert self.texts(blank) == self.texts(answer(make_run(tmp_path / "other", tmp_path / "grey")))
        assert self.texts(blank) != [json.loads(line)["text"] for line in whole.splitlines()]

    def test_shuffled_answers_as_if_the_pictures_were_exchanged_as_its_markers_say(
        self, tmp_path: Path, questions: Path, whole: bytes
    ) -> None:
        run = make_run(tmp_path / "run", questions, evaluate={"shards": 2})
        shuffled = [row for shard in range(2) for row in answer(run, shard, images="shuffled")]
        markers = [completion_facts(file) for file in run.shard_files("llava", "before", 2, "shuffled")]
        shown = {image: other for facts in markers for image, other in facts["shown"].items()}
        asked = read_examples(questions / "test.jsonl")
        assert shown.keys() == {e.image_id for e in asked} == set(shown.values())
        shutil.copytree(questions, tmp_path / "exchanged")
        for image, other in shown.items():
            shutil.copy(questions / "images" / other, tmp_path / "exchanged" / "images" / image)
        exchanged = make_run(tmp_path / "other", tmp_path / "exchanged", evaluate={"shards": 2})
        assert self.texts(shuffled) == self.texts([row for shard in range(2) for row in answer(exchanged, shard)])
        assert self.texts(shuffled) != [json.loads(line)["text"] for line in whole.splitlines()]

    def test_each_kind_has_its_own_file_and_weights_name(self, tmp_path: Path, questions: Path, whole: bytes) -> None:
        run = make_run(tmp_path / "run", questions)
        ids = {kind: {row["model_id"] for row in answer(run, images=kind)} for kind in ("real", "blank", "shuffled")}
        assert ids == {
            "real": {"llava/tiny@seed0"},
            "blank": {"llava/tiny@seed0#blank"},
            "shuffled": {"llava/tiny@seed0#shuffled"},
        }
        assert run.shard_file("llava", "before", 0).read_bytes() == whole
        files = [run.shard_file("llava", "before", 0, kind) for kind in ("real", "blank", "shuffled")]
        assert [completion_facts(file)["images"] for file in files] == ["real", "blank", "shuffled"]

    def test_answers_of_another_kind_are_refused(self, tmp_path: Path, questions: Path, whole: bytes) -> None:
        run = make_run(tmp_path / "run", questions)
        file = run.shard_file("llava", "before", 0, "blank")
        file.parent.mkdir(parents=True)
        file.write_bytes(whole)
        with pytest.raises(
            UserError, match=r"jsonl:1: was answered by llava/tiny@seed0, not by llava/tiny@seed0#blank"
        ):
            answer(run, images="blank")

    def test_a_cut_shard_ends_with_the_same_bytes(self, tmp_path: Path, questions: Path) -> None:
        run = make_run(tmp_path / "run", questions)
        answer(run, images="shuffled")
        file = run.shard_file("llava", "before", 0, "shuffled")
        whole = file.read_bytes()
        file.with_suffix(".COMPLETE").unlink()
        file.write_bytes(whole[: len(whole) // 2])
        answer(run, images="shuffled")
        assert file.read_bytes() == whole


def asked(places: Mapping[str, int]) -> list[Example]:
    """A question about each image of each place: place -> how many images it has."""
    ids = [(place, f"{place}_heading{n}") for place, count in places.items() for n in range(count)]
    return [Example(f"{image}#0", image, place, "Is it day?", "yes", "q", "presence.binary") for place, image in ids]


class TestShuffledImages:
    @given(places=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 5), min_size=2), seed=st.integers(0, 9))
    def test_every_image_gives_way_to_one_of_another_place(self, places: dict[str, int], seed: int) -> None:
        examples = asked(places)
        place_of = {e.image_id: e.place for e in examples}
        shown = shuffled_images(examples, seed)
        assert shown.keys() == place_of.keys()
        assert all(place_of[image] != place_of[other] for image, other in shown.items())
        assert shuffled_images(reversed(examples), seed) == shown
        if len(set(places.values())) == 1:
            assert set(shown.values()) == set(shown)

    def test_it_follows_the_seed_and_not_the_heading(self) -> None:
        examples = asked(dict.fromkeys("abcdefghijklmnop", 4))
        shown = shuffled_images(examples, 1)
        assert shuffled_images(examples, 2) != shown
        same = [image for image, other in shown.items() if image.rpartition("_")[2] == other.rpartition("_")[2]]
        assert 0 < len(same) < len(shown) / 2

    def test_one_place_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"evaluate.images: shuffled: .* is of one, a; ask about more places"):
            shuffled_images(asked({"a": 4}), 0)

    def test_an_image_of_two_places_is_refused(self) -> None:
        examples = asked({"a": 1, "b": 1})
        examples.append(Example("x", "a_heading0", "b", "Is it day?", "yes", "q", "presence.binary"))
        with pytest.raises(UserError, match="example x: says that a_heading0 is of place b, another row says a"):
            shuffled_images(examples, 0)
