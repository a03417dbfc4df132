"""The paper profile: its groups, what no text can do to it, gold values, and its scores against scikit-learn."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, mean_absolute_error

from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES
from urbanvlm.evaluate.bootstrap import interval
from urbanvlm.evaluate.paper import NO, YES, in_words, merge_class, paper_group, paper_value
from urbanvlm.evaluate.paper_scores import (
    PaperF1OfClasses,
    PaperF1OfYes,
    PaperMeanAbsoluteError,
    paper_score_kind,
)
from urbanvlm.evaluate.paper_text import clean
from urbanvlm.evaluate.profiles import profile_of
from urbanvlm.records import Example

GROUPS = {
    "viewfactor.scalar": "scalar",
    "count": "number",
    "depth.average_per_object": "number",
    "depth.range.label": "depth_label",
    "spatial.distribution.label": "layout_label",
    "depth.closest_object": "class",
    "segmentation.vertical_layout.entity": "class",
}
CHOICES = {"negation.exclusion_choice", "multi_hop.which_is_more"}
BLANK = {"yes_no": 0, "number": 0, "scalar": 0, "depth_label": "unknown", "layout_label": "other", "class": "unknown"}
ONE_PER_GROUP = ["presence.binary", *GROUPS, *CHOICES, "negation.absence"]

pieces = st.sampled_from(
    "answer: Answer- yes no yesterday nothing true absent the a car trees is are closest 3 .5 -0.7 1001 0-1 one some "
    "high moderately little left right evenly ### Human: Assistant: ``` ` * _ > . , é ² ① ٣ ſ ı İ ß 二 \u200b".split()
)
texts = st.one_of(st.text(), st.lists(pieces).map(" ".join), st.lists(pieces).map("".join))


# ---- groups and values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_every_subtype_of_the_study_has_its_group(subtype):
    assert paper_group(subtype) == GROUPS.get(subtype, "yes_no")
    assert paper_group(f"paraphrase.from_{subtype}") == paper_group(subtype)


@pytest.mark.parametrize("subtype", ["my.negation.kind", "a_multi_hop", "counterfactual"])
def test_a_subtype_with_a_compositional_word_in_it_is_yes_no(subtype):
    assert paper_group(subtype) == "yes_no"


@pytest.mark.parametrize(
    "subtype", ["", "Count", "count ", "depth.range.label.x", "weather", "my.paraphrase.from_count"]
)
def test_any_other_subtype_has_no_group_and_its_rows_no_value(subtype):
    assert paper_group(subtype) is None
    assert paper_value("yes", subtype) is None
    assert paper_value(None, subtype) is None


@pytest.mark.parametrize("text", [None, "", " \n\t", "\u00a0\u2003", 3, 0.5, True, b"yes", ["yes"]])
@pytest.mark.parametrize("subtype", ONE_PER_GROUP)
def test_blank_or_no_text_has_a_value_in_every_group(text, subtype):
    assert paper_value(text, subtype) == BLANK[paper_group(subtype)]


@pytest.mark.parametrize("subtype", ONE_PER_GROUP)
def test_a_text_of_marks_alone_is_no_or_left_out(subtype):
    assert paper_value(" **_`** ", subtype) == (NO if paper_group(subtype) == "yes_no" else None)


@pytest.mark.parametrize(
    "word", ["bush", "bushes", "shrub", "leaf", "leaves", "vegetation", "forest", "grass", "plants"]
)
def test_greenery(word):
    assert merge_class(word) == "greenery"


def test_the_other_classes_with_their_plurals():
    for name in "car truck van train bicycle motorcycle".split():
        assert merge_class(name) == merge_class(name + "s") == "vehicle"
    assert merge_class("bus") == merge_class("buses") == "vehicle"
    for name in "pedestrian human person".split():
        assert merge_class(name) == merge_class(name + "s") == "person"
    for name in "people man men woman women child children".split():
        assert merge_class(name) == "person"
    for name in "building skyscraper structure tower house office".split():
        assert merge_class(name) == merge_class(name + "s") == "building"
    for name in ["forests", "bench", "Car", " car", "car.", "", "buss", "grasses"]:
        assert merge_class(name) == name


def test_no_class_is_no_answer():
    """A choice that is called "no" is another value than no, but both are shown alike."""
    assert paper_value("no", "negation.exclusion_choice") == "no" != NO
    assert in_words("no", "negation.exclusion_choice") == in_words(NO, "negation.exclusion_choice") == "no"


def test_values_are_shown_in_words_for_yes_no_questions_alone():
    assert (in_words(YES, "presence.binary"), in_words(NO, "paraphrase.from_negation.absence")) == ("yes", "no")
    assert (in_words(1, "count"), in_words(0.0, "viewfactor.scalar")) == (1, 0.0)
    assert in_words("vehicle", "negation.absence") == "vehicle"
    assert in_words(None, "depth.closest_object") is None


QUANTITIES = (
    "none 0, zero 0, one 1, two 2, three 3, four 4, five 5, six 6, seven 7, eight 8, nine 9, ten 10, couple 2, few 3, "
    "several 4, some 4, many 6, a lot 8, half a dozen 6, dozen 12, hundred 100"
).split(", ")


@pytest.mark.parametrize("place", range(len(QUANTITIES)))
def test_the_number_word_that_is_earlier_in_the_list_counts_wherever_it_stands(place):
    word, quantity = QUANTITIES[place].rsplit(" ", 1)
    for later in QUANTITIES[place:]:
        assert paper_value(f"99 {later.rsplit(' ', 1)[0]}, {word}", "count") == int(quantity)


@pytest.mark.parametrize(("zeros", "count"), [(4299, 5), (4300, 0), (9000, 0)])
@pytest.mark.parametrize("sign", ["", "+"])
def test_an_integer_too_long_for_the_published_scorer_counts_nothing(zeros, count, sign):
    text = sign + "0" * zeros + "5"
    assert paper_value(text, "count") == count
    assert paper_value(text, "viewfactor.scalar") == 5
    assert paper_value(text + ".5", "count") == 5.5


def test_numbers_of_many_digits_are_beyond_the_range():
    assert paper_value("9" * 5000, "viewfactor.scalar") == paper_value("9" * 5000 + ".5", "count") == 0


# ---- any text -------------------------------------------------------------------------------------------------------


@given(texts, st.sampled_from(sorted(SUBTYPES)))
@example("\ud800", "count")
@example("answer:", "depth.closest_object")
def test_every_text_has_a_value_of_its_group(text, subtype):
    value, group = paper_value(text, subtype), paper_group(subtype)
    if value is None:
        assert group != "yes_no" and not clean(text)
    elif subtype in CHOICES:
        assert value == NO or (isinstance(value, str) and value)
    elif group == "yes_no":
        assert value in (YES, NO) or ("negation" in subtype and isinstance(value, str) and value)
    elif group in ("scalar", "number"):
        assert isinstance(value, int | float) and -1000 <= value <= 1000
    elif group == "depth_label":
        assert value in ("low", "moderate", "high", "unknown")
    elif group == "layout_label":
        assert value in ("left side", "right side", "even", "other")
    else:
        assert isinstance(value, str) and value


@given(texts, st.sampled_from(sorted(GROUPS)))
def test_a_label_means_itself(text, subtype):
    """Gold labels and predictions are read alike, so a label read from a text is read from itself again."""
    value = paper_value(text, subtype)
    if isinstance(value, str) and paper_group(subtype) != "class":
        assert paper_value(value, subtype) == value
    elif isinstance(value, str):
        assert merge_class(merge_class(value)) == merge_class(value)


@given(texts)
def test_cleaned_text_has_single_spaces_and_no_marks(text):
    cleaned = clean(text)
    assert cleaned == " ".join(cleaned.split()) and not set(cleaned) & set("*_`") and cleaned == cleaned.lower()


@given(texts, st.sampled_from(sorted(SUBTYPES)))
def test_case_and_the_white_space_around_do_not_matter(text, subtype):
    if text.isascii():
        assert paper_value(text.upper(), subtype) == paper_value(f" \n{text.lower()}\u00a0", subtype)


@pytest.mark.parametrize("subtype", sorted({paper_group(name): name for name in SUBTYPES}.values()) + sorted(CHOICES))
@pytest.mark.parametrize(
    "piece",
    ["7", "+", "#", "### human:", "### ", "answer: ", "answer:-", "a ", "a is the ", "no\u0661 ", ">", "`", "1,"],
)
def test_300_000_characters_are_read(piece, subtype):
    """In linear time: anything quadratic would take hours here."""
    paper_value(piece * (300_000 // len(piece)) + "é", subtype)


# ---- gold values ----------------------------------------------------------------------------------------------------


def gold(answer, subtype="presence.binary", rationale=None, *, chain_of_thought=False):
    labelled = Example("e", "i", "p", "What?", answer, "perceptual", subtype, rationale)
    return profile_of("paper", chain_of_thought=chain_of_thought).gold(labelled)


def test_the_gold_value_is_the_answers():
    assert gold("Yes") == YES
    assert gold("Complex", "depth.range") == NO
    assert gold("Yes", "spatial.distribution.label") == "other"
    assert gold("cars", "paraphrase.from_multi_hop.which_is_more") == "vehicle"


def test_with_rationales_the_gold_value_is_read_out_of_them():
    assert gold("Yes", rationale="There is a car. Answer: No", chain_of_thought=True) == NO
    assert gold("Yes", rationale="There is a car. Answer: No", chain_of_thought=False) == YES
    assert gold("12", "count", "I see one car and 11 more. Answer: 12", chain_of_thought=True) == 1


@pytest.mark.parametrize("rationale", [None, "", " \n"])
def test_without_a_rationale_the_gold_value_is_the_answers(rationale):
    assert gold("Yes", rationale=rationale, chain_of_thought=True) == YES


# ---- scores ---------------------------------------------------------------------------------------------------------


def test_how_each_metric_scores():
    kinds = {key: {paper_score_kind(s.name) for s in SUBTYPES.values() if s.metric == key} for key in METRICS}
    assert {key: kind.pop() for key, kind in kinds.items() if len(kind) == 1} == {
        "proportion.binary": "f1_yes",
        "proportion.scalar": "mae",
        "depth.categorical": "f1_macro",
        "depth.closest_object": "f1_macro",
        "depth.binary": "f1_yes",
        "layout.binary": "f1_yes",
        "layout.top_entity": "f1_macro",
        "object.count": "mae",
        "object.presence": "f1_yes",
        "object.cooccurrence": "f1_yes",
        "compositional.negation": "f1_macro",
        "compositional.counterfactual": "f1_macro",
        "compositional.multi_hop": "f1_macro",
        "depth.average_per_object": "mae",
        "spatial.distribution.label": "f1_macro",
        "occlusion.binary": "f1_yes",
        "spatial.relation": "f1_macro",
    }
    assert paper_score_kind("weather") is None


def drawn(golds, guesses, rows, places=17, dropped=0.0, seed=0):
    """Random gold values, guesses that are None now and then, and the places of the rows."""
    rng = random.Random(seed)
    guess = [None if rng.random() < dropped else rng.choice(guesses) for _ in range(rows)]
    return [rng.choice(golds) for _ in range(rows)], guess, np.array([rng.randrange(places) for _ in range(rows)])


def score(measure, golds, guesses, places):
    """The score from the statistics of each place, as the bootstrap sums them."""
    statistics = measure.statistics(golds, guesses, [""] * len(golds), places, 20)
    return float(measure.value(statistics.sum(axis=0)))


def kept(golds, guesses):
    """Rows that the profile scores, as strings: scikit-learn takes no mixture of them with numbers."""
    pairs = [(repr(gold), repr(guess)) for gold, guess in zip(golds, guesses, strict=True) if guess is not None]
    return [gold for gold, _ in pairs], [guess for _, guess in pairs]


MIXED = [YES, NO, "greenery", "vehicle", "no", "0"]
SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_f1_of_yes_is_scikit_learns(seed):
    golds, guesses, places = drawn([YES, NO], [YES, NO, NO], 90, dropped=0.1, seed=seed)
    gold, guess = kept(golds, guesses)
    assert score(PaperF1OfYes(), golds, guesses, places) == pytest.approx(f1_score(gold, guess, pos_label="1"))


def test_without_any_yes_f1_is_zero():
    golds, guesses, places = drawn([NO], [NO], 5)
    expected = f1_score(golds, guesses, zero_division=0)
    assert score(PaperF1OfYes(), golds, guesses, places) == expected == 0


@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("guessable", [MIXED, [*MIXED, "unknown", "a roof", 5], ["only", "others"]])
def test_f1_of_classes_is_scikit_learns_over_all_values_that_occur(average, seed, guessable):
    golds, guesses, places = drawn(MIXED[:4], guessable, 120, dropped=0.1, seed=seed)
    measure = PaperF1OfClasses.over(golds, guesses, average)
    gold, guess = kept(golds, guesses)
    expected = f1_score(gold, guess, average=average, zero_division=0)
    assert score(measure, golds, guesses, places) == pytest.approx(expected)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_f1_of_classes_is_exact_where_a_model_rambles(average):
    """Hundreds of values that are never gold, some of them more than once."""
    rambled = [f"the image shows {number}" for number in range(400)]
    golds, guesses, places = drawn(MIXED[:4], MIXED[:3] * 100 + rambled, 1000)
    measure = PaperF1OfClasses.over(golds, guesses, average)
    assert measure.rare and len(measure.strays) < 100
    gold, guess = kept(golds, guesses)
    assert score(measure, golds, guesses, places) == pytest.approx(f1_score(gold, guess, average=average))


@pytest.mark.parametrize("seed", SEEDS)
def test_mean_absolute_error_is_scikit_learns(seed):
    golds, guesses, places = drawn([0.0, 0.25, 3], [0, 1000.0, -0.5], 60, dropped=0.1, seed=seed)
    gold, guess = kept(golds, guesses)
    expected = mean_absolute_error([float(x) for x in gold], [float(x) for x in guess])
    assert score(PaperMeanAbsoluteError(3.0), golds, guesses, places) == pytest.approx(expected)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_a_resample_scores_as_its_rows_would(average):
    golds, guesses, places = drawn(MIXED[:3], MIXED, 60, places=20, dropped=0.1)
    measure = PaperF1OfClasses.over(golds, guesses, average)
    statistics = measure.statistics(golds, guesses, [""] * 60, places, 20)
    times = np.random.default_rng(0).integers(0, 3, size=(30, 20))
    for draw, value in zip(times, measure.value(times @ statistics), strict=True):
        rows = [row for row in range(60) for _ in range(draw[places[row]])]
        gold, guess = kept([golds[row] for row in rows], [guesses[row] for row in rows])
        assert value == pytest.approx(f1_score(gold, guess, average=average, zero_division=0))


def test_no_rows_have_no_score():
    for measure in (PaperF1OfYes(), PaperMeanAbsoluteError(1.0), PaperF1OfClasses.over([1], [1])):
        assert np.isnan(score(measure, [1], [None], np.array([0])))


def test_guesses_may_be_counted_already():
    guesses = [f"roof {number % 90}" for number in range(300)] + [None]
    assert PaperF1OfClasses.over(["car"], Counter(guesses)) == PaperF1OfClasses.over(["car"], guesses)


@pytest.mark.parametrize(
    ("subtype", "golds", "guesses"),
    [("presence.binary", [YES, NO], [YES, NO]), ("negation.absence", MIXED, MIXED), ("count", [0, 3], [0, 9])],
)
def test_intervals_hold_the_score(subtype, golds, guesses):
    golds, guesses, places = drawn(golds, guesses, 200)
    profile = profile_of("paper")
    kind = profile.score_kind("subtype", subtype)
    measure = profile.measure(kind, SUBTYPES[subtype], Counter(golds), Counter(guesses), "macro")
    statistics = measure.statistics(golds, guesses, ["yes_no"] * 200, places, 17)
    low, high = interval(measure, statistics, 200, seed=0)
    assert low < float(measure.value(statistics.sum(axis=0))) < high


def test_intervals_where_everything_is_right_or_wrong_are_exact():
    places = np.arange(10)
    statistics = PaperF1OfYes().statistics([YES] * 10, [YES] * 10, [""] * 10, places, 10)
    assert interval(PaperF1OfYes(), statistics, 100, seed=0) == pytest.approx((0.025**0.1, 1))
    measure = PaperF1OfClasses.over(["car"], ["tree"])
    statistics = measure.statistics(["car"] * 10, ["tree"] * 10, [""] * 10, places, 10)
    assert interval(measure, statistics, 100, seed=0) == pytest.approx((0, 1 - 0.025**0.1))
