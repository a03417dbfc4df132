"""The table of scores: what it says, at which width, and what it refuses."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_support import scores
from rich.console import Console

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.percent import percent
from urbanvlm.records import Score
from urbanvlm.report import terminal_table
from urbanvlm.report.document import Document, Section
from urbanvlm.report.grid import ScoreGrid, beats_blind
from urbanvlm.report.markdown import code_block, escape, render_markdown, shorten
from urbanvlm.report.scores import scores_table
from urbanvlm.report.tables import PARTIAL_STAMP, fixed

GOLDEN = Path(__file__).parent / "golden"


def rendered(rows: list[Score], width: int, *, partial: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(terminal_table(rows, partial=partial))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def markdown_table(rows: list[Score]) -> str:
    document = Document("t", (), (Section("s", (scores_table(ScoreGrid.of(rows)),)),))
    return render_markdown(document, "").partition("## s\n\n")[2]


def check_golden(name: str, text: str) -> None:
    """Equal to the file of that name; `UPDATE_GOLDEN=1 pytest` rewrites it, for a person to look at the difference."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_table_is_as_agreed(width: int) -> None:
    check_golden(f"report_table_{width}.txt", rendered(scores(), width))


def test_markdown_table_is_as_agreed() -> None:
    check_golden("report_table.md", markdown_table(scores()))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_nothing_is_cut_off_at_any_width(width: int) -> None:
    text = rendered(scores(), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    for model in ("blip2", "instructblip", "llava"):
        assert model in text


def test_models_that_do_not_fit_go_into_further_blocks_with_every_score() -> None:
    wide, narrow = rendered(scores(), 80), rendered(scores(), 60)
    assert narrow.count("blind │") > wide.count("blind │")
    for score in scores():
        if score.value is not None:
            assert fixed(score.value, 5) in narrow


def test_one_model_one_phase_shows_intervals_on_a_narrow_terminal() -> None:
    rows = scores(models=("llava",), phases=("before",))
    text = rendered(rows, 80)
    score = next(row for row in rows if row.value)
    assert score.low is not None
    assert f"{fixed(score.low, 5)}–" in text
    assert "after" not in text


def test_metrics_never_asked_are_named_and_not_counted() -> None:
    text = " ".join(rendered(scores(), 120).split())
    for key in [key for key, metric in METRICS.items() if metric.in_table][-3:]:
        assert f"{METRICS[key].group} {METRICS[key].name}" in text.partition("not asked in this experiment:")[2]
    assert "/10" in text
    assert "/13" not in text


def test_partial_scores_are_stamped() -> None:
    assert rendered(scores(), 80, partial=True).startswith(PARTIAL_STAMP)
    assert PARTIAL_STAMP not in rendered(scores(), 80)


def row(**changes: object) -> Score:
    base = Score("m", "after", "real", "strict", "metric", _F1, "", 0.8, 0.7, 0.9, 10, 10, 0.0, 0.5)
    return replace(base, **changes)  # type: ignore[arg-type]


_F1 = next(key for key, metric in METRICS.items() if metric.score != "mae" and metric.in_table)
_MAE = next(key for key, metric in METRICS.items() if metric.score == "mae" and metric.in_table)


@pytest.mark.parametrize(
    ("score", "wins"),
    [
        (row(low=0.51), True),
        (row(low=0.5), False),
        (row(low=0.49), False),
        (row(name=_MAE, value=0.4, low=0.3, high=0.49), True),
        (row(name=_MAE, value=0.4, low=0.3, high=0.5), False),
        (row(name=_MAE, value=0.8, low=0.7, high=0.9), False),
        (row(blind_baseline=None), False),
        (row(low=None, high=None), False),
    ],
)
def test_a_score_beats_blind_only_with_its_whole_interval_on_the_better_side(score: Score, wins: bool) -> None:
    assert beats_blind(score) is wins
    assert ScoreGrid.of([score]).wins("m", "after") == wins
    assert ("✓" in markdown_table([score])) is wins
    assert ("*" in rendered([score], 80).split("F1, higher")[0]) is wins


def test_unparsed_answers_are_marked_and_weighted_by_rows() -> None:
    other = next(key for key, metric in METRICS.items() if metric.in_table and key != _F1)
    rows = [row(unparsed_share=0.5, asked=30), row(name=other, unparsed_share=0.0, asked=10)]
    assert ScoreGrid.of(rows).unparsed_share("m", "after") == pytest.approx(0.375)
    assert "0.800*?" in rendered(rows, 80)
    assert "38 %" in rendered(rows, 80)
    assert "50 % unparsed" in markdown_table(rows)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(), row(model="n", blind_baseline=0.51)], "not asked the same questions"),
        ([row(), row(value=0.81)], "two scores for m after"),
        ([row(), row(model="n", profile="paper")], "2 profiles"),
        ([row(name="beauty")], "'beauty'"),
        ([row(phase="during")], "'during'"),
        ([], "0 profiles"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(rows: list[Score], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ScoreGrid.of(rows)


def test_a_model_that_lacks_a_metric_leaves_a_gap() -> None:
    text = rendered([row(), row(model="n", value=None, low=None, high=None, asked=0, scored=0)], 80)
    assert "–" in text


@given(st.floats(0, 9999.4, allow_nan=False), st.integers(4, 6))
def test_fixed_fits_and_is_near(value: float, width: int) -> None:
    text = fixed(value, width)
    assert len(text) <= width
    assert abs(float(text) - value) <= 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9


@pytest.mark.parametrize(("value", "text"), [(0.831, ".83"), (0.999, "1.0"), (0.0, ".00"), (1.25, "1.2"), (12.6, "13")])
def test_short_bounds(value: float, text: str) -> None:
    assert fixed(value, 3, leading_zero=False) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        *[(0, "0 %"), (0.0001, "0.1 %"), (0.031, "3.1 %"), (0.5, "50 %"), (0.9999, "99.9 %"), (1, "100 %")],
        # Half up, and the same where a half was lost on the way: shares are kept to six decimals, and summed.
        *[(0.375, "38 %"), (0.374999875, "38 %"), (0.125, "13 %"), (0.3749, "37 %"), (0.0625, "6.3 %")],
    ],
)
def test_percent_never_rounds_some_to_none_or_all(share: float, text: str) -> None:
    assert percent(share) == text


MARKDOWN = MarkdownIt("gfm-like", {"linkify": False})


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_escaped_text_is_shown_letter_by_letter(text: str) -> None:
    tokens = MARKDOWN.parse(escape(text))
    shown = "".join(child.content for token in tokens for child in token.children or ())
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds <= {"text", "text_special"}
    assert {token.type for token in tokens} <= {"paragraph_open", "inline", "paragraph_close"}
    assert " ".join(shown.split()) == " ".join("".join(" " if ord(c) < 32 or c == "\x7f" else c for c in text).split())


@given(st.text(st.sampled_from("a|`\\\n<>*"), max_size=30))
def test_escaped_text_stays_in_its_table_cell(text: str) -> None:
    html = MARKDOWN.render(f"| a | b |\n|---|---|\n| {escape(text)} | end |\n")
    assert html.count("<td>") == 2
    assert "<td>end</td>" in html


@given(st.text(st.sampled_from("`~\nab: "), max_size=40))
def test_a_code_block_ends_where_it_should(text: str) -> None:
    tokens = MARKDOWN.parse(code_block(text, "yaml") + "\nafter\n")
    assert [token.type for token in tokens] == ["fence", "paragraph_open", "inline", "paragraph_close"]
    assert tokens[0].content.rstrip() == text.rstrip()


def test_shorten_shows_the_cut() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"


def test_the_table_needs_neither_matplotlib_nor_torch() -> None:
    code = "import sys, urbanvlm.report.tables as t; print(sorted({'matplotlib', 'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
