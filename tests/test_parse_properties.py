"""Strict parsing of what models add to an answer: turns that they make up, thoughts, loops, parts, other things."""

from hypothesis import given, settings
from hypothesis import strategies as st
from test_parse import ANSWERS, ANY_TEXT, MADE_UP_TURN, SUBTYPE

from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.evaluate.parse import UNPARSED, Parsed, parse_answer
from urbanvlm.evaluate.vocabulary import CLASSES

QUIET = settings(deadline=None)
OTHER_QUESTIONS = st.sampled_from(
    (
        "How many kiosks are there?",
        "What colour is the roof?",
        "Is there a postbox beside the door?",
        "Which side is the shop on?",
        "Does it rain?",
    )
)
OTHER_ANSWERS = st.sampled_from([text for answers in ANSWERS.values() for text, _ in answers])
TURNS = st.sampled_from(
    (
        "{} Question: {question} Answer: {other}",
        "{}\nQuestion: {question}\nAnswer: {other}\nQuestion: {question}",
        "{}.\n\nQ: {question}\nA: {other}",
        "{} Q1: {question} A1: {other}",
        "{}\n\n{question}\n{other}",
        "{}\n{question}{other}\n{question}{other}\n{question}",
        "{}. {question} {other}.",
        "{} USER: {question} ASSISTANT: {other}",
        "{}\nHuman: {question}\nAssistant: {other}",
        "Answer: {}\n\nQuestion: {question}\nAnswer: {other}",
        "The answer is {}. Question: {question} The answer is {other}.",
    )
)
THINGS = st.lists(st.sampled_from("bdfgjkvwxz"), min_size=4, unique=True).map("".join)
"""No words of any language."""
CLASS = st.sampled_from(sorted(CLASSES))
FEW = st.integers(1, 40)


@given(data=st.data(), subtype=SUBTYPE, turn=TURNS, question=OTHER_QUESTIONS, other=OTHER_ANSWERS, asked=st.booleans())
@QUIET
def test_a_turn_of_its_own_never_changes_the_answer(data, subtype, turn, question, other, asked):
    text, value = data.draw(st.sampled_from(ANSWERS[subtype.answer_kind]))
    said = turn.format(text, question=question, other=other)
    assert parse_answer(said, subtype, "What stands by the wall?" if asked else "") == Parsed("answer", value)


@given(turn=TURNS, question=OTHER_QUESTIONS, other=OTHER_ANSWERS, subtype=SUBTYPE)
@QUIET
def test_the_answer_to_a_question_of_its_own_is_no_answer(turn, question, other, subtype):
    said = turn.format("A quiet place", question=question, other=other)
    assert parse_answer(said, subtype, "What stands by the wall?") == UNPARSED


@given(data=st.data(), subtype=SUBTYPE, thoughts=ANY_TEXT.filter(lambda text: not MADE_UP_TURN.search(text)))
@QUIET
def test_thoughts_are_not_the_answer(data, subtype, thoughts):
    text, value = data.draw(st.sampled_from(ANSWERS[subtype.answer_kind]))
    for said in (f"<think>{thoughts}</think>{text}", f"{thoughts}<answer>{text}</answer>"):
        assert parse_answer(said, subtype) == Parsed("answer", value)
    assert parse_answer(f"<think>{text}</think>", subtype) == UNPARSED
    assert parse_answer(f"<think>{text} and so on", subtype) == UNPARSED


@given(data=st.data(), subtype=SUBTYPE, times=st.integers(3, 60), cut=st.integers(0, 2))
@QUIET
def test_a_loop_says_its_word_once(data, subtype, times, cut):
    answers = [(text, value) for text, value in ANSWERS[subtype.answer_kind] if text.isalpha()] or [("", None)]
    text, value = data.draw(st.sampled_from(answers))
    said = text * times + text[: min(cut, len(text) - 1)]
    assert parse_answer(said, subtype) == (UNPARSED if value is None else Parsed("answer", value))


@given(data=st.data(), subtype=SUBTYPE)
@QUIET
def test_answers_that_differ_in_their_tags_are_refused(data, subtype):
    first, second = ANSWERS[subtype.answer_kind][0], ANSWERS[subtype.answer_kind][-1]
    said = f"<answer>{first[0]}</answer>\n<answer>{second[0]}</answer>"
    assert parse_answer(said, subtype) == (UNPARSED if first[1] != second[1] else Parsed("answer", first[1]))


@given(thing=st.one_of(THINGS, CLASS), other=st.one_of(THINGS, CLASS), place=st.sampled_from(["", " in the scene"]))
@QUIET
def test_presence_is_of_what_was_asked_about(thing, other, place):
    presence, count = SUBTYPES["presence.binary"], SUBTYPES["count"]
    question = f"Is there a {thing} in the scene?"
    for said, value in (
        (f"There is a {thing}{place}.", "yes"),
        (f"There is no {thing}{place}.", "no"),
        (f"There is a {thing} that is not moving.", "yes"),
        (f"No {thing} is visible{place}.", "no"),
        (f"I cannot see any {thing}{place}", "no"),
    ):
        assert parse_answer(said, presence, question).value == value, said
        assert parse_answer(said, SUBTYPES["negation.absence"], question).value == {"yes": "no", "no": "yes"}[value]
        if thing != other:
            assert parse_answer(said, presence, f"Is there a {other} in the scene?") == UNPARSED, said
    how_many = f"How many of {thing} are in the scene?"
    assert parse_answer(f"There is no {thing}.", count, how_many).value == 0
    assert parse_answer(f"No {thing} is moving.", count, how_many) == UNPARSED
    assert parse_answer(f"There is only one {thing}.", count, how_many).value == 1


@given(first=FEW, second=FEW, pair=st.sampled_from([("on the left", "on the right"), ("in front", "behind")]))
@QUIET
def test_a_part_is_never_read_as_the_whole(first, second, pair):
    count, question = SUBTYPES["count"], "How many cars are in the scene?"
    parts = f"{first} cars {pair[0]} and {second} {pair[1]}"
    assert parse_answer(parts, count, question) == UNPARSED
    assert parse_answer(f"There are {first} cars {pair[0]}. There are {second} cars {pair[1]}.", count) == UNPARSED
    for said in (
        f"{parts}, {first + second} in total",
        f"{parts}. Therefore, there are {first + second} cars.",
        f"There are {first + second} cars: {parts}.",
        f"{first + second} cars. A total of {first + second}: {parts}",
    ):
        assert parse_answer(said, count, question).value == first + second, said
    assert parse_answer(f"There are {first + 1} cars. One car is red.", count, question).value == first + 1


@given(percent=st.integers(0, 100), others=st.lists(st.integers(2, 3000), min_size=1, max_size=4))
@QUIET
def test_one_percentage_is_the_share_whatever_is_counted_beside_it(percent, others):
    share = SUBTYPES["viewfactor.scalar"]
    counted = " ".join(f"I look at {number} tiles." for number in others)
    for question in ("", "What percentage of the picture is sky?"):
        assert parse_answer(f"{counted} The share is {percent} %.", share, question).value == percent / 100
        assert parse_answer(f"{counted} It is {percent} % and {percent + 1} %", share, question) == UNPARSED
    if percent > 1:
        assert parse_answer(str(percent), share, "What percentage of the picture is sky?").value == percent / 100
        assert parse_answer(str(percent), share, "What share of the picture is sky?") == UNPARSED
