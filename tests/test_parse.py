"""Strict parsing: what holds for every text, and what the question adds."""

import re

import pytest
from dataset_support import many_metadata
from hypothesis import given, settings
from hypothesis import strategies as st

from urbanvlm.dataset.prompts import load_prompts
from urbanvlm.dataset.rules import drafts
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
    "# ² ½ ｙｅｓ ٣ İ ß e1 1e9 whether if unclear there is isn't only , orange light traffic \\boxed{ } \\frac{1} {2} "
    '$ <b> user: [/INST] ### human: { " : free perhaps may could without neither nobody vehicles minus thousand behind '
    "front hidden hides visible both nor fewer outnumber deep rise middle foreground not a single <3 ° half \x00 \ud800"
)
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=200)
ANY_TEXT = st.one_of(ANYTHING, st.lists(st.sampled_from(FRAGMENTS.split(" ")), max_size=40).map(" ".join))
SUBTYPE = st.sampled_from(list(SUBTYPES.values()))
NO_ANSWER = "this is wide and quiet with grey shade over old stones all seems calm as evening comes".split()
"""no `it` or `they`: `it is`, as a clause of its own, agrees with the question"""
MADE_UP_TURN = re.compile(r"user|human|inst|assistant|gpt|question|q|[?<\uff1f]", re.IGNORECASE)
"""What may begin a turn of the model's own, or hold its thoughts: what is said before it may be the answer."""
WRAPS = (
    *(
        "{}",
        "{}.",
        "{}!",
        "  {}\n",
        "**{}**",
        '"{}"',
        "\u201c{}\u201d",
        "'{}'",
        "`{}`",
        "({})",
        "[{}]",
        "<b>{}</b>",
        "{}</s>",
    ),
    *("Answer: {}", "**Answer:** {}.", "{}\n{}", "{}, {}", '{"answer": "{}"}', "```\n{}\n```", "$\\boxed{\\text{{}}}$"),
)
PHRASES = (
    *("{}", "Answer: {}", "The answer is {}.", "the final answer is: {}", "My answer would be {}.", "I think {}."),
    *(
        "It is hard to be sure, but I would say {}.",
        "Let me look closely.\nAnswer: {}",
        "ASSISTANT: {}",
        "Probably {}.",
    ),
    *(
        "Answer: unsure. Looking again.\nAnswer: {}",
        "Final Answer - {}",
        "A: {}",
        "I'd say {}",
        "USER: Hm? ASSISTANT: {}",
    ),
    *("{}\nUSER: And now? Count 2 dogs.\nASSISTANT: Answer: 9 yes no low left", "So, {}.", "Well... {}"),
)
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


@given(data=st.data(), subtype=SUBTYPE, rationale=ANY_TEXT.filter(lambda text: not MADE_UP_TURN.search(text)))
@settings(max_examples=300, deadline=None)
def test_the_final_answer_decides_whatever_stands_before_it(data, subtype, rationale):
    text, value = data.draw(st.sampled_from(ANSWERS[subtype.answer_kind]))
    assert parse_answer(f"{rationale}\nAnswer: {text}", subtype) == Parsed("answer", value)


@given(data=st.data(), subtype=SUBTYPE)
def test_case_space_markup_punctuation_and_repetition_change_nothing(data, subtype):
    text, value = data.draw(st.sampled_from(ANSWERS[subtype.answer_kind]))
    wrap = data.draw(st.sampled_from(WRAPS))
    change = data.draw(st.sampled_from([str.upper, str.lower, str.title, str]))
    space = data.draw(st.text(" \t\n\u00a0\u200b", max_size=3))
    assert parse_answer(space + wrap.replace("{}", change(text)) + space, subtype) == Parsed("answer", value)


@given(data=st.data(), subtype=SUBTYPE, question=st.sampled_from(["", "Is the car in front of the bus?"]))
def test_the_same_answer_in_other_words_is_the_same_answer(data, subtype, question):
    text, value = data.draw(st.sampled_from(ANSWERS[subtype.answer_kind]))
    phrase = data.draw(st.sampled_from(PHRASES))
    assert parse_answer(phrase.replace("{}", text), subtype, question) == Parsed("answer", value)


@given(words=st.lists(st.one_of(st.sampled_from(NO_ANSWER), st.text("bdfgjkqvwxz", min_size=4)), max_size=60))
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_a_text_without_an_answer_is_unparsed(subtype, words):
    assert parse_answer(" ".join(words), SUBTYPES[subtype]) == UNPARSED


@given(data=st.data(), subtype=SUBTYPE, texts=st.lists(ANY_TEXT, max_size=5))
def test_what_was_read_before_changes_nothing(data, subtype, texts):
    questions = ["", "Is there a bus in the scene?", "How many cars are in the scene?"]
    asked = [(text, question) for text in texts for question in questions]
    first = {pair: parse_answer(pair[0], subtype, pair[1]) for pair in asked}
    again = {pair: parse_answer(pair[0], subtype, pair[1]) for pair in data.draw(st.permutations(asked))}
    assert first == again


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
    *(
        "²",
        "twenty-",
        "Is it? ",
        "\\boxed{",
        "\\frac{",
        "<b",
        "USER: ",
        "USER: x",
        "[INST]",
        ', "a',
        "{",
        "not a single ",
    ),
    *(
        "a car, ",
        "3 cars and ",
        "the car is behind the bus ",
        "perhaps ",
        "none of the cars are ",
        "\x00",
        "\ud800",
        "👍",
    ),
    *("ﷺ", "a\u0301", "high-", "both ", "not clear ", "minus ", "and a half "),
]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_rambling_neither_crashes_it_nor_hides_the_answer(kind):
    text, value = ANSWERS[kind][0]
    for piece in RAMBLING:
        rambling = piece * (5_000 // len(piece))
        if not MADE_UP_TURN.search(piece):
            assert parse_answer(f"{rambling}\nAnswer: {text}", KINDS[kind]) == Parsed("answer", value)
        assert parse_answer(rambling, KINDS[kind]).status in {"answer", "unparsed"}


@pytest.mark.parametrize("character", ["\x00", "\ud800", "👍", " ", "a", "?", "7"])
def test_a_long_text_of_one_character_is_unparsed(character):
    for kind in KINDS.values():
        assert parse_answer(character * 100_000, kind) == UNPARSED


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


def test_generated_rows_are_read_back_with_and_without_their_rationale():
    read = set()
    for metadata in many_metadata(4):
        for draft in drafts(metadata, SUBTYPES, seed=0):
            subtype = SUBTYPES[draft.subtype]
            gold = parse_gold(example(draft.subtype, draft.answer))
            read.add(draft.subtype)
            assert subtype.answers is None or gold in subtype.answers
            for text in (draft.answer, draft.cot_answer, f"USER: {draft.question} ASSISTANT: {draft.answer}"):
                assert parse_answer(text, subtype, draft.question) == Parsed("answer", gold), draft
            assert parse_answer(draft.question, subtype, draft.question) == UNPARSED
            assert parse_answer(draft.question, subtype) == UNPARSED
            seen = parse_answer(draft.rationale, subtype, draft.question)
            assert seen in (UNPARSED, Parsed("answer", gold)), draft
    assert read == set(SUBTYPES)


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_closed_answers_are_read_as_our_rows_write_them(subtype):
    kind = SUBTYPES[subtype]
    for answer, written in zip(kind.answers or (), kind.written or (), strict=True):
        assert parse_gold(example(subtype, written)) == answer


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
