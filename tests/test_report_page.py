"""The report of a run: it is whole, it is reproducible, and no text of a user or a model breaks it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from PIL import Image
from report_support import MODELS, QUESTIONS, make_run

from urbanvlm.errors import UserError
from urbanvlm.evaluate.metrics import Row
from urbanvlm.evaluate.parse import parse_answer, parse_gold, subtype_of
from urbanvlm.records import Example
from urbanvlm.report import is_partial, make_report
from urbanvlm.report.curves import read_curves, smoothed
from urbanvlm.report.gallery import Reply, choose_examples
from urbanvlm.report.tables import PARTIAL_STAMP
from urbanvlm.run_folder import RunFolder

HOSTILE = (
    "Does | `a` <b>win</b> <script>alert(1)</script> ```\n# no heading\n![x](http://example.org/x.png) $\\alpha$ *?*"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = make_run(tmp_path_factory.mktemp("runs"), question=HOSTILE, images=("real", "blank"))
    (run.path / "tensorboard").mkdir()
    make_report(run)
    return run


def links(text: str) -> list[str]:
    """Targets of every link and picture that Markdown sees in the text."""
    children = [
        child for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text) for child in token.children or ()
    ]
    return [str(child.attrs[key]) for child in children for key in ("href", "src") if key in child.attrs]


def test_every_link_leads_to_a_file_and_every_picture_is_linked(finished: RunFolder) -> None:
    run = finished
    found = links(run.report.read_text(encoding="utf-8"))
    for link in found:
        assert (run.path / link).exists(), link
    files = {f"report/{path.name}" for path in (run.path / "report").iterdir()}
    assert files == {link for link in found if link.startswith("report/")}
    pictures = {Path(file).stem for file in files if file.endswith(".png")}
    assert pictures == {"scores-f1", "scores-mae", "gains", "training", "scenes"}


def test_the_report_shows_a_whole_prompt_of_each_subtype(finished: RunFolder) -> None:
    for file in (finished.report, finished.page):
        text = file.read_text(encoding="utf-8")
        assert "Question: How many cars can you see? Answer with a number. Answer:" in text


def test_pictures_are_pictures_and_nothing_temporary_stays(finished: RunFolder) -> None:
    run = finished
    for path in (run.path / "report").glob("*.png"):
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 200
            assert len(picture.convert("L").getcolors() or []) > 10
    assert not list(run.path.rglob("*.tmp"))


def test_a_hostile_question_is_shown_and_does_nothing(finished: RunFolder) -> None:
    run = finished
    html = MarkdownIt("gfm-like", {"linkify": False}).render(run.report.read_text(encoding="utf-8"))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "example.org" not in " ".join(links(run.report.read_text(encoding="utf-8")))
    assert "<h1>no heading" not in html
    assert html.count("<h1>") == 1
    assert html.count("<table>") >= 4


def test_the_same_run_gives_the_same_bytes(finished: RunFolder) -> None:
    run = finished

    def digests() -> dict[str, str]:
        files = [run.report, run.page, run.scores, *sorted((run.path / "report").iterdir())]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    first = digests()
    make_report(run)
    assert digests() == first


def test_the_report_says_how_the_numbers_were_made(finished: RunFolder) -> None:
    run = finished
    text = run.report.read_text(encoding="utf-8")
    for words in (run.id, "seed 0", "profile strict", "torch ", "transformers ", "dataset/card.md", "max_steps: 60"):
        assert words in text, words
    assert not re.search(r"\b20\d\d-\d\d-\d\d", text)
    assert PARTIAL_STAMP not in text


def test_every_scene_shows_each_models_reply_before_and_after(finished: RunFolder) -> None:
    run = finished
    scenes = run.report.read_text(encoding="utf-8").split("## Scenes")[1].split("\n## ")[0]
    assert scenes.count("Gold:") == len(QUESTIONS)
    assert len(re.findall(r"^\| (blip2|instructblip|llava) \| [✓✗≈?] .* \| [✓✗≈?] .*\|$", scenes, re.M)) == 9 * len(
        MODELS
    )


def test_zero_shot_has_one_phase_and_no_training(tmp_path: Path) -> None:
    run = make_run(tmp_path, mode="zero-shot", models=("llava",))
    make_report(run)
    text = run.report.read_text(encoding="utf-8")
    assert "llava<br>before" in text
    assert "after" not in text.replace("/after", "")
    for title in ("Training", "Gains", "Without seeing"):
        assert f"## {title}" not in text
    assert not (run.path / "report" / "training.png").exists()
    assert is_partial(run) is False


def test_scores_over_a_subset_are_stamped(tmp_path: Path) -> None:
    run = make_run(tmp_path, mode="zero-shot", models=("llava",), limit=20)
    make_report(run)
    assert is_partial(run) is True
    text = run.report.read_text(encoding="utf-8")
    assert PARTIAL_STAMP in text
    assert "only the first 20" in text
    assert PARTIAL_STAMP in run.page.read_text(encoding="utf-8")
    assert PARTIAL_STAMP in (run.path / "report" / "scores.tex").read_text(encoding="utf-8")


def test_a_missing_prediction_is_said_and_no_report_appears(tmp_path: Path) -> None:
    run = make_run(tmp_path, mode="zero-shot", models=("llava",))
    shard = run.shard_file("llava", "before", 1)
    shard.write_text("".join(shard.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    with pytest.raises(UserError, match="1 of 108 examples have no answer"):
        make_report(run)
    assert not run.report.exists()
    assert not run.scores.exists()


def test_writing_a_report_never_imports_torch(tmp_path: Path) -> None:
    code = "import sys, urbanvlm.report.page; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# ---- choosing scenes -------------------------------------------------------------------------------------------------


def example(id_: str, subtype: str = "count", place: str = "p", answer: str = "1") -> Example:
    return Example(id_, f"{place}.png", place, "How many?", answer, "object", subtype)


def test_chosen_examples_differ_in_subtype_and_place() -> None:
    subtypes = list(QUESTIONS)
    pool = [example(f"{place}-{s}", s, f"p{place}") for place in range(20) for s in subtypes]
    chosen = choose_examples(pool, 9)
    assert len({e.scored_subtype for e in chosen}) == 9
    assert len({e.place for e in chosen}) == 9
    assert choose_examples(pool[::-1], 9)[0].scored_subtype == chosen[-1].scored_subtype
    assert {e.id for e in choose_examples(pool[:1], 9)} == {pool[0].id}


def test_few_subtypes_are_taken_again_and_many_are_spread() -> None:
    pool = [example(f"{n}", "count", f"p{n}") for n in range(20)]
    assert Counter(e.scored_subtype for e in choose_examples(pool, 6)) == {"count": 6}
    assert len({e.place for e in choose_examples(pool, 6)}) == 6
    assert choose_examples(pool[:4], 6) != []
    assert len(choose_examples(pool[:4], 6)) == 4
    assert choose_examples([], 6) == []


@pytest.mark.parametrize(
    ("subtype", "gold", "text", "verdict", "note"),
    [
        ("count", "3", "3", "right", ""),
        ("count", "3", "5", "near", "off by 2"),
        ("viewfactor.scalar", "0.25", "0.31", "near", "off by 0.06"),
        ("presence.binary", "yes", "no", "wrong", ""),
        ("presence.binary", "yes", "banana", "unread", "unparsed"),
        ("presence.binary", "yes", "", "unread", "unparsed"),
    ],
)
def test_a_reply_is_judged_as_the_scores_judge_it(subtype: str, gold: str, text: str, verdict: str, note: str) -> None:
    asked = example("e", subtype, answer=gold)
    kind = subtype_of(asked)
    reply = Reply.of(Row("e", "p", kind, parse_gold(asked), parse_answer(text, kind)), text)
    assert (reply.verdict, reply.note) == (verdict, note)


def test_a_chain_of_thought_is_shown_by_its_answer() -> None:
    assert Reply("I see two cars. Answer: 2", "right").final == "2"
    assert Reply("2", "right").final == "2"


# ---- training curves -------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "metrics.jsonl"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_step_logged_again_after_a_resume_counts_once(logged: Callable[[str], Path]) -> None:
    curves = read_curves(
        "m",
        logged(
            '{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n{"step": 2, "loss": 2.0, "grad_norm": NaN}\n'
            '{"step": 2, "validation_loss": 2.2}\n'
        ),
    )
    assert curves is not None
    assert curves.series["loss"] == ((1, 3.0), (2, 2.0))
    assert "grad_norm" not in curves.series
    assert (curves.steps, curves.last("loss"), curves.lowest("validation_loss")) == (2, 2.0, 2.2)
    assert curves.last("learning_rate") is None


def test_no_curves_without_a_file_and_an_error_at_a_broken_line(logged: Callable[[str], Path], tmp_path: Path) -> None:
    assert read_curves("m", tmp_path / "nothing.jsonl") is None
    with pytest.raises(UserError, match=r"metrics\.jsonl:2"):
        read_curves("m", logged('{"step": 1, "loss": 3.0}\n{"step": 2, "lo\n'))


def test_smoothing_keeps_a_constant_and_damps_a_spike() -> None:
    constant = tuple((step, 2.0) for step in range(30))
    assert all(value == pytest.approx(2.0) for _, value in smoothed(constant, 3))
    spike = tuple((step, 10.0 if step == 15 else 1.0) for step in range(30))
    assert max(value for _, value in smoothed(spike, 3)) < 4
