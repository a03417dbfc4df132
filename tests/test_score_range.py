"""Numbers that are far off, and answers that cannot be read: neither may decide a score alone, or beat a constant."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from urbanvlm.evaluate.score import score_run
from urbanvlm.evaluate.table import print_scores
from urbanvlm.records import Example, Prediction
from urbanvlm.report.tables import terminal_table

COUNTS, LENGTHS = st.integers(0, 10**6).map(str), st.decimals("-100", 10**6, places=2).map(str)
SHARES = st.decimals(0, 1, places=2).map(str)
GOLDS = {"count": COUNTS, "viewfactor.scalar": SHARES, "depth.average_per_object": LENGTHS}


def rows(subtype, golds):
    return [
        Example(f"e{n}", f"i{n}.jpg", f"p{n}", "What?", gold, "perceptual", subtype) for n, gold in enumerate(golds)
    ]


def score(subtype, golds, texts, train=()):
    said = {f"e{n}": Prediction(f"e{n}", text, "", "") for n, text in enumerate(texts)}
    stamp = {"model": "m", "phase": "after", "profile": "strict", "resamples": 20, "seed": 0}
    scores = score_run(rows(subtype, golds), said, rows(subtype, train), **stamp)
    return next(score for score in scores if score.level == "subtype"), scores


@pytest.mark.parametrize("subtype", GOLDS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_constant_answer_scores_worse_than_answers_that_cannot_be_read(subtype, data):
    golds = data.draw(st.lists(GOLDS[subtype], min_size=1, max_size=6))
    if data.draw(st.booleans()):
        golds = [golds[0]] * len(golds)
    train = data.draw(st.lists(GOLDS[subtype], max_size=3))
    unread, _ = score(subtype, golds, ["no idea"] * len(golds), train)
    constant = data.draw(GOLDS[subtype])
    said, _ = score(subtype, golds, [constant] * len(golds))
    assert unread.scored == 0 and said.scored == len(golds)
    assert said.value <= unread.value + 1e-9
    assert unread.lift <= 1e-9
    assert unread.value > 0, "not even where there is one gold answer"


def test_a_run_of_one_row_that_could_not_be_read_does_not_beat_blind():
    unread, _ = score("count", ["1"], ["no idea"], train=["3"])
    assert (unread.value, unread.blind_baseline, unread.lift) == (1, 1, 0)


@pytest.mark.parametrize("slip", ["888888", "1e30"])
def test_one_number_out_of_range_counts_as_an_unread_one_does(slip):
    golds = ["2", "8"] * 20
    far, scores = score("count", golds, [slip, *golds[1:]])
    unread, _ = score("count", golds, ["no idea", *golds[1:]])
    assert far.value == unread.value == pytest.approx(6 / 40)
    assert far.high <= 8
    assert (far.scored, far.out_of_range_share, unread.out_of_range_share) == (40, 1 / 40, 0)
    console = Console(width=120, highlight=False)
    with console.capture() as shown:
        console.print(terminal_table(scores))
    assert "out of range" in shown.get() and "2.5 %" in shown.get()


def test_a_number_beyond_the_gold_answers_keeps_its_error_while_it_can_be_meant(capsys):
    near, scores = score("count", ["2", "8"], ["2", "11"])
    assert (near.value, near.out_of_range_share) == (1.5, 0)
    print_scores(scores, [], has_train=False)
    assert "out of range" not in capsys.readouterr().out
    _, scores = score("count", ["2", "8"], ["2", "99"])
    print_scores(scores, [], has_train=False)
    assert "50 %" in capsys.readouterr().out


def test_a_share_can_be_anything_from_0_to_1_whatever_was_asked():
    unread, _ = score("viewfactor.scalar", ["0.40", "0.50"], ["no idea", "no idea"])
    assert unread.value == pytest.approx((0.6 + 0.5) / 2)
