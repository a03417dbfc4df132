"""Strict parsing: what holds for every text, and what the question adds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urbanvlm.dataset.prompts import load_prompts
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.evaluate.parse import UNPARSED, Parsed, parse_answer, parse_gold
from urbanvlm.records import Example

KINDS = {subtype.answer_kind: subtype for subtype in SUBTYPES.values()}
DOMAIN = {
    "yes_no": lambda v: v in {"yes", "no"},
    "integer": lambda v: v >= 0 and float(2 * v).is_integer(),
    "share": lambda v: 0 <= v <= 1,
    "number": lambda v: abs(v) < 1e19,
    "class": lambda v: isinstance(v, str) and v == v.lower(),
    "depth_label": lambda v: v in {"low", "moderate", "high"},
    "side_label": lambda v: v in {"left side", "right side", "evenly spread"},
}
FRAGMENTS = (
    "yes no not n't none Answer: answer is 3 0.35 10-15 35 % a dozen twenty five car people no cars bus or and , . ? : "
    "left right side evenly low high moderate between 1 than more closest the ASSISTANT: \n / - one half third out of "
    "# ² ½ ｙｅｓ ٣ İ ß e1 1e9 whether if unclear there is isn't only , orange light traffic"
)
ANY_TEXT = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(FRAGMENTS.split(" ")), max_size=40).map(" ".join))
SUBTYPE = st.sampled_from(list(SUBTYPES.values()))
NO_ANSWER = "the street is wide and quiet with grey light over old stones"
ANSWERS = {
    "yes_no": [("Yes", "yes"), ("no", "no")],
    "integer": [("7", 7), ("seven", 7), ("0", 0)],
    "share": [("0.35", 0.35), ("35 %", 0.35)],
    "number": [("12.5", 12.5), ("12,5 m", 12.5)],
    "class": [("car", "car"), ("the pedestrians", "person")],
    "depth_label": [("moderate", "moderate"), ("High", "high")],
    "side_label": [("left side", "left side"), ("evenly spread", "evenly spread")],
}


def example(subtype, answer, **more):
    return Example(
        **{"id": "e1", "image_id": "i", "place": "p", "question": "", "qtype": ""} | more,
        subtype=subtype,
        answer=answer,
    )


@given(text=ANY_TEXT, question=ANY_TEXT, subtype=SUBTYPE)
@settings(max_examples=500, deadline=None)
def test_no_text_crashes_it_and_every_answer_is_of_its_kind(text, question, subtype):
    parsed = parse_answer(text, subtype, question)
    assert (parsed.status == "answer") == (parsed.value is not None)
    assert parsed.status != "missing"
    assert parsed == UNPARSED or DOMAIN[subtype.answer_kind](parsed.value)


@given(data=st.data(), subtype=SUBTYPE, rationale=ANY_TEXT)
@settings(max_examples=300, deadline=None)
def test_the_final_answer_decides_whatever_stands_before_it(data, subtype, rationale):
    text, value = data.draw(st.sampled_from(ANSWERS[subtype.answer_kind]))
    assert parse_answer(f"{rationale}\nAnswer: {text}", subtype) == Parsed("answer", value)


@given(data=st.data(), subtype=SUBTYPE)
def test_case_space_markup_and_repetition_change_nothing(data, subtype):
    text, value = data.draw(st.sampled_from(ANSWERS[subtype.answer_kind]))
    wrap = data.draw(st.sampled_from(["{}", "{}.", "  {}\n", "**{}**", '"{}"', "`{}`", "Answer: {}", "{}\n{}", "({})"]))
    change = data.draw(st.sampled_from([str.upper, str.lower, str.title, str]))
    assert parse_answer(wrap.replace("{}", change(text)), subtype) == Parsed("answer", value)


@given(words=st.lists(st.sampled_from(NO_ANSWER.split()), max_size=60))
def test_a_text_without_an_answer_is_unparsed(words):
    for subtype in KINDS.values():
        if subtype.answer_kind != "class":  # a street is one
            assert parse_answer(" ".join(words), subtype) == UNPARSED


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    "text", ["", " ", "\n", "\x00", "\ufeff", "...", "I cannot tell.", "unknown", "N/A", "sí", "да"]
)
def test_nothing_becomes_no_or_zero(kind, text):
    assert parse_answer(text, KINDS[kind]) == UNPARSED


RAMBLING = [
    *(
        "The street is wide and there are no cars, but ",
        "9",
        "a",
        " ",
        "?",
        "answer ",
        "answer: ",
        "no ",
        "-",
        "1,",
        "1/",
    ),
    *(
        ".",
        "car or ",
        "left and ",
        "n't ",
        "\n",
        "1.",
        "between 1 and ",
        "not sure ",
        "'",
        "assistant:",
        "_",
        "#",
        "is ",
    ),
    *("²", "twenty-", "Is it? "),
]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_rambling_neither_hangs_nor_hides_the_answer(kind):
    text, value = ANSWERS[kind][0]
    for piece in RAMBLING:
        assert parse_answer(f"{piece * (20_000 // len(piece))}\nAnswer: {text}", KINDS[kind]) == Parsed("answer", value)
        assert parse_answer(piece * (20_000 // len(piece)), KINDS[kind]).status in {"answer", "unparsed"}


def test_statements_about_another_class_than_the_question_do_not_count():
    presence, question = SUBTYPES["presence.binary"], "Is there a bus in the image?"
    assert parse_answer("There is a truck.", presence, question) == UNPARSED
    assert parse_answer("No cars are visible.", presence, question) == UNPARSED
    assert parse_answer("There is a truck but no bus.", presence, question).value == "no"
    assert parse_answer("Yes, there is a bus. No people are near.", presence, question).value == "yes"
    assert parse_answer("No, there is a bus.", presence, question) == UNPARSED
    assert parse_answer("There are no cars.", SUBTYPES["count"], "How many buses are there?") == UNPARSED
    assert parse_answer("There are no buses.", SUBTYPES["count"], "How many buses are there?").value == 0


def test_both_classes_of_a_cooccurrence_must_be_seen():
    both, question = (SUBTYPES["object.cooccurrence"], "Are a car and a person in the image?")
    assert parse_answer("There are a car and a person.", both, question).value == "yes"
    assert parse_answer("There is a car.", both, question) == UNPARSED
    assert parse_answer("There is no person.", both, question).value == "no"


def test_an_echoed_question_is_no_answer():
    count, question = SUBTYPES["count"], "Count the 2 kinds of cars, please."
    assert parse_answer(question, count, question) == UNPARSED
    assert parse_answer(f"{question} 5", count, question).value == 5


@pytest.mark.parametrize("chain_of_thought", [False, True])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_an_echoed_prompt_is_no_answer(subtype, chain_of_thought):
    asked = example(subtype, "", question="Is there no bus to the left of the 2 cars, or which class is closest?")
    prompt = load_prompts(None).render(asked, chain_of_thought)
    text, value = ANSWERS[SUBTYPES[subtype].answer_kind][0]
    assert parse_answer(prompt, SUBTYPES[subtype]) == UNPARSED
    assert parse_answer(f"{prompt} {text}", SUBTYPES[subtype], asked.question) == Parsed("answer", value)


@pytest.mark.parametrize(
    ("subtype", "answer", "value"),
    [
        ("presence.binary", "Yes", "yes"),
        ("depth.range", "Complex", "yes"),
        ("depth.range", "simple", "no"),
        ("count", "17", 17),
        ("viewfactor.scalar", "0.20", 0.2),
        ("depth.average_per_object", "12.34", 12.34),
        ("depth.closest_object", "person", "person"),
        ("multi_hop.which_is_more", "people", "person"),
        ("spatial.distribution.label", "evenly spread", "evenly spread"),
        ("paraphrase.from_negation.absence", "No", "no"),
    ],
)
def test_gold_answers(subtype, answer, value):
    assert parse_gold(example(subtype, answer)) == value


@pytest.mark.parametrize(
    ("subtype", "answer", "words"),
    [
        ("spatial.distribution.label", "Yes", "gold answer 'Yes'"),
        ("count", "", "whole number"),
        ("viewfactor.scalar", "1.2", "share from 0 to 1"),
        ("no.such", "Yes", "unknown subtype 'no.such'"),
    ],
)
def test_a_gold_answer_that_cannot_be_read_names_its_example(subtype, answer, words):
    with pytest.raises(UserError, match=f"example e1: .*{words}"):
        parse_gold(example(subtype, answer))


def test_the_rationale_is_never_the_gold():
    assert parse_gold(example("presence.binary", "No", cot_answer="I see one.\nAnswer: Yes")) == "no"
