"""Gold answers that programs wrote: a number has as many digits as Python or JSON give it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urbanvlm.dataset.audit import audit
from urbanvlm.dataset.scan import scan
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.evaluate.metrics import Row
from urbanvlm.evaluate.parse import parse_answer, parse_gold
from urbanvlm.evaluate.score import score_run
from urbanvlm.records import Example, Prediction


def example(subtype, answer):
    return Example("e", "i.jpg", "p", "How much?", answer, "perceptual", subtype)


@pytest.mark.parametrize(
    ("subtype", "answer", "value"),
    [
        ("viewfactor.scalar", "0.38866666666666666", 0.38866666666666666),
        ("viewfactor.scalar", "1e-05", 1e-05),
        ("viewfactor.scalar", "1.2345678901234567e-05", 1.2345678901234567e-05),
        ("viewfactor.scalar", "-0.0", 0.0),
        ("viewfactor.scalar", "38.866666666666667 %", 0.388666667),
        ("viewfactor.scalar", "1.0", 1.0),
        ("depth.average_per_object", "12.", 12.0),
        ("depth.average_per_object", "12345678901234567890", 1.2345678901234567e19),
        ("depth.average_per_object", "8.100000000000001 m", 8.1),
        ("count", "3.0", 3),
        ("count", "1,204", 1204),
    ],
)
def test_a_gold_number_is_read_whatever_its_digits(subtype, answer, value):
    assert parse_gold(example(subtype, answer)) == value


@given(st.floats(0, 1), st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=100, deadline=None)
def test_whatever_python_writes_is_read_back_exactly(share, number):
    assert parse_gold(example("viewfactor.scalar", repr(share))) == share
    assert parse_gold(example("depth.average_per_object", json.dumps(number))) == number


@pytest.mark.parametrize("text", ["0.38866666666666666", "about 0.388666666666666667", "38.866666666666666%"])
def test_a_model_may_say_as_many_digits(text):
    gold = example("viewfactor.scalar", "0.38866666666666666")
    subtype = SUBTYPES[gold.subtype]
    assert Row("e", "p", subtype, parse_gold(gold), parse_answer(text, subtype)).correct


def test_so_many_digits_said_right_are_no_error_and_no_certainty():
    examples = [replace(example("viewfactor.scalar", repr(n / 7)), id=str(n), place=str(n)) for n in range(1, 7)]
    said = {one.id: Prediction(one.id, one.answer, "", "") for one in examples}
    stamp = {"model": "m", "phase": "", "profile": "strict", "resamples": 20, "seed": 0}
    (score,) = (score for score in score_run(examples, said, None, **stamp) if score.level == "subtype")
    assert score.value == 0 and score.high > 0.1


@pytest.mark.parametrize(("subtype", "answer"), [("viewfactor.scalar", "1.5"), ("count", "2.5"), ("count", "1e999")])
def test_what_is_no_value_of_the_subtype_stays_refused(subtype, answer):
    with pytest.raises(UserError, match="gold answer"):
        parse_gold(example(subtype, answer))


def test_the_audit_reads_gold_answers_as_the_scores_do(tmp_path):
    keys = {"question": "What share is sky?", "qtype": "perceptual", "subtype": "viewfactor.scalar"}
    rows = [{"image_id": f"{n}.jpg", "answer": repr(n / 7), **keys} for n in range(1, 7)]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = audit(scan(path))
    assert [finding.code for finding in found.findings if "answer" in finding.code] == []
    assert found.labels[0].rows == 6
