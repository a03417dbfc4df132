"""Resampled scores, intervals and paired differences against brute force, scipy, and what must hold of any of them."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.evaluate.bootstrap import Clustered, interval, resampled
from urbanvlm.evaluate.compare import gain, paired
from urbanvlm.evaluate.intervals import degrees_of_freedom, difference_of, exact_ends, studentised_ends
from urbanvlm.evaluate.metrics import F1OfClasses, F1OfYes, MeanAbsoluteError, Row
from urbanvlm.evaluate.parse import Parsed
from urbanvlm.evaluate.profiles import profile_of
from urbanvlm.records import Score

STRICT = profile_of("strict")
MEASURES = {"f1": F1OfYes(), "classes": F1OfClasses((0, 1, 2)), "mae": MeanAbsoluteError(0, 5)}
VALUES = {"f1": ["yes", "no"], "classes": [0, 1, 2], "mae": [0, 1, 2, 5]}


def part(kind, rows, places):
    """rows: (place, gold, guess)."""
    golds, guesses = [gold for _, gold, _ in rows], [guess for _, _, guess in rows]
    groups = np.array([place for place, _, _ in rows])
    used, number = np.unique(groups, return_inverse=True)
    kinds = ["yes_no" if kind == "f1" else "integer"] * len(rows)
    statistics = MEASURES[kind].statistics(golds, guesses, kinds, number, len(used))
    return Clustered(MEASURES[kind], used, statistics)


def score_of(kind, rows):
    return part(kind, rows, 0).value if rows else math.nan


def random_rows(kind, seed, places, count=60):
    rng = np.random.default_rng(seed)
    pick = VALUES[kind]
    return [
        (int(rng.integers(places)), gold, gold if rng.random() < 0.6 else pick[rng.integers(len(pick))])
        for gold in (pick[rng.integers(len(pick))] for _ in range(count))
    ]


@pytest.mark.parametrize("kind", MEASURES)
def test_resampled_scores_are_those_of_the_drawn_rows(kind):
    rows = random_rows(kind, 1, places=8, count=40)
    rows = [row for row in rows if row[0] not in (3, 4)]
    values = resampled([part(kind, rows, 8)], 8, resamples=60, seed=5)[0]
    rng = np.random.default_rng(5)
    for value in values:
        sample = [row for place in rng.integers(0, 8, size=8) for row in rows if row[0] == place]
        assert value == pytest.approx(score_of(kind, sample))


def test_a_resample_without_a_row_that_counts_has_no_score():
    rows = [(0, "yes", "yes"), (1, "no", "no"), (2, "no", "no"), (3, "no", "no")]
    values = resampled([part("f1", rows, 4)], 4, resamples=50, seed=0)[0]
    assert np.isnan(values).any() and set(values[~np.isnan(values)]) == {1.0}


def test_chunks_do_not_matter(monkeypatch):
    rows = random_rows("classes", 2, places=12)
    whole = resampled([part("classes", rows, 12)], 12, 40, seed=3)[0]
    monkeypatch.setattr("urbanvlm.evaluate.bootstrap._CHUNK_CELLS", 30)
    monkeypatch.setattr("urbanvlm.evaluate.bootstrap._CHUNK_PLACES", 5)
    assert np.array_equal(resampled([part("classes", rows, 12)], 12, 40, seed=3)[0], whole, equal_nan=True)
    part("classes", rows, 12).influences()


@pytest.mark.parametrize("kind", MEASURES)
def test_influences_are_those_of_leaving_a_place_out(kind):
    rows = random_rows(kind, 4, places=10)
    one = part(kind, rows, 10)
    without = np.array([score_of(kind, [row for row in rows if row[0] != place]) for place in one.places])
    bears = one.bearing
    assert bears.sum() > 5
    assert one.influences()[bears] == pytest.approx((without[bears].mean() - without)[bears])
    assert not one.influences()[~bears].any()


def test_degrees_of_freedom_are_those_of_the_variance():
    rng = np.random.default_rng(0)
    normal = scipy.stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    assert degrees_of_freedom(normal) == pytest.approx(3999, rel=0.05)
    assert degrees_of_freedom(np.where(np.arange(50) < 2, 1.0, 0.0) - 0.04) < 5, "two places of fifty decide the score"
    assert degrees_of_freedom(rng.choice([-1.0, 1.0], 30)) == 29, "never more than there are places"
    assert degrees_of_freedom(np.zeros(7)) == 6


def test_exact_ends_are_clopper_pearson():
    for n in (1, 2, 10, 300):
        bound = scipy.stats.binomtest(n, n).proportion_ci(0.95, "exact").low
        assert exact_ends(1.0, n, 0.0, lower_is_better=False) == (pytest.approx(bound), 1)
        assert exact_ends(0.0, n, 0.0, lower_is_better=False) == (0, pytest.approx(1 - bound))
        assert exact_ends(0.0, n, 8.0, lower_is_better=True) == (0, pytest.approx(8 * (1 - bound)))
        assert exact_ends(8.0, n, 8.0, lower_is_better=True) == (pytest.approx(8 * bound), 8)


def test_an_interval_needs_two_places_that_bear_on_the_score():
    rows = [(0, "yes", "yes"), (0, "yes", "no"), (1, "no", "no"), (2, "no", "no")]
    one = part("f1", rows, 3)
    assert interval(one.measure, one.statistics, 50, seed=0) is None


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from([0, 1, 2, 5]), st.sampled_from([0, 1, 2, 5, None])),
        min_size=2,
        max_size=25,
    ),
    kind=st.sampled_from(["mae", "classes"]),
)
@settings(max_examples=80, deadline=None)
def test_an_interval_holds_its_score_and_stays_in_range(rows, kind):
    if kind == "classes":
        rows = [(place, gold % 3, None if guess is None else guess % 3) for place, gold, guess in rows]
    one = part(kind, rows, 7)
    ends = interval(one.measure, one.statistics, 30, seed=0)
    if ends is not None:
        assert 0 <= ends[0] <= one.value + 1e-12 and one.value - 1e-12 <= ends[1] <= one.measure.largest
        assert math.isfinite(ends[1])


def test_a_wide_interval_near_an_end_does_not_overflow():
    values = np.array([0.0, 1.0] * 50)
    low, high = studentised_ends(1e-9, values, np.array([1.0, -1.0]), "logit")
    assert (low, high) == (pytest.approx(0), pytest.approx(1))


# ---- pairs ----------------------------------------------------------------------------------------------------------


def rows_of(subtype, golds, guesses, places=None):
    places = places or range(len(golds))
    return [
        Row(str(i), f"p{place:03d}", SUBTYPES[subtype], gold, Parsed("unparsed") if g is None else Parsed("answer", g))
        for i, (gold, g, place) in enumerate(zip(golds, guesses, places, strict=True))
    ]


def difference(first, second, name="object.presence", **more):
    found = paired(first, second, **{"profile": STRICT, "resamples": 200, "seed": 0} | more)
    return next(one for one in found if one.name == name)


def yes_no(seed, accuracy, count=80):
    rng = np.random.default_rng(seed)
    golds = np.random.default_rng(99).choice(["yes", "no"], count).tolist()
    swap = {"yes": "no", "no": "yes"}
    return golds, [gold if rng.random() < accuracy else swap[gold] for gold in golds]


def test_differences_come_from_the_same_draws():
    golds, worse = yes_no(0, 0.6)
    _, better = yes_no(1, 0.9)
    places = [i // 4 for i in range(80)]
    one = difference(
        rows_of("presence.binary", golds, worse, places), rows_of("presence.binary", golds, better, places)
    )

    def f1(guesses, chosen):
        rows = [i for place in chosen for i in range(80) if places[i] == place]
        hits = sum(golds[i] == guesses[i] == "yes" for i in rows)
        return 2 * hits / sum((golds[i] == "yes") + (guesses[i] == "yes") for i in rows)

    everything = range(20)
    assert one.difference == pytest.approx(f1(better, everything) - f1(worse, everything))
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, 20, size=20) for _ in range(200)]
    error = np.std([f1(better, d) - f1(worse, d) for d in draws], ddof=1) * math.sqrt(20 / 19)
    without = [[p for p in everything if p != place] for place in everything]
    change = [f1(better, rest) - f1(worse, rest) for rest in without]
    freedom = min(19, 2 * 20 / (scipy.stats.kurtosis(change, fisher=False) - 17 / 19))
    reach = scipy.stats.t.ppf(0.975, freedom) * error
    assert (one.low, one.high) == pytest.approx((one.difference - reach, min(1, one.difference + reach)))
    assert one.p == pytest.approx(2 * scipy.stats.t.sf(one.difference / error, freedom))


def test_a_pair_the_other_way_round_is_its_negative():
    golds, a = yes_no(0, 0.7)
    _, b = yes_no(1, 0.8)
    first, second = rows_of("presence.binary", golds, a), rows_of("presence.binary", golds, b)
    for one, other in zip(
        paired(first, second, profile=STRICT, resamples=50, seed=1),
        paired(second, first, profile=STRICT, resamples=50, seed=1),
        strict=True,
    ):
        assert (one.level, one.name) == (other.level, other.name)
        assert (other.difference, other.low, other.high, other.p) == pytest.approx(
            (-one.difference, -one.high, -one.low, one.p)
        )


def test_a_smaller_error_is_the_better_one():
    golds = list(range(12))
    first = rows_of("count", golds, [g + 1 + g % 2 for g in golds])
    second = rows_of("count", golds, [g + g % 2 for g in golds])
    assert difference(first, second, "object.count").difference == pytest.approx(1.0)


@given(seed=st.integers(0, 1000), accuracy=st.sampled_from([0.5, 0.8, 0.95]))
@settings(max_examples=25, deadline=None)
def test_p_and_interval_agree(seed, accuracy):
    golds, a = yes_no(seed, 0.7, 30)
    _, b = yes_no(seed + 1, accuracy, 30)
    one = difference(rows_of("presence.binary", golds, a), rows_of("presence.binary", golds, b), resamples=60)
    assert one.low <= one.difference <= one.high
    assert 0 <= one.p <= 1
    assert (one.p < 0.05) == (one.low > 0 or one.high < 0)


def test_equal_answers_differ_by_nothing_and_that_is_not_certain():
    golds, a = yes_no(0, 0.7)
    rows = rows_of("presence.binary", golds, a)
    one = difference(rows, rows)
    bound = 1 - 0.025 ** (1 / 80)
    assert one.difference == 0 and one.p == 1
    assert 0 < one.high <= bound * 2 and one.low == -one.high


def test_all_wrong_against_all_right_is_as_sure_as_the_places_make_it():
    golds = ["yes"] * 6
    one = difference(rows_of("presence.binary", golds, ["no"] * 6), rows_of("presence.binary", golds, golds))
    assert (one.difference, one.p, one.high) == (1, pytest.approx(2 / 2**6), 1)
    assert one.low == pytest.approx(0.025 ** (1 / 6))


def test_order_does_not_matter_and_groups_and_subtypes_are_compared_too():
    golds, a = yes_no(0, 0.6)
    _, b = yes_no(1, 0.9)
    first, second = rows_of("presence.binary", golds, a), rows_of("presence.binary", golds, b)
    there = paired(first, second, profile=STRICT, resamples=50, seed=0)
    again = paired(first, second[::-1], profile=STRICT, resamples=50, seed=0)
    assert there == again
    assert [(one.level, one.name) for one in there] == [
        ("metric", "object.presence"),
        ("group", "object"),
        ("subtype", "presence.binary"),
    ]


def test_pairs_by_the_paper_profile():
    golds, a = [1, 0, 1, 0] * 5, [1, 1, 0, 0] * 5
    found = difference(
        rows_of("presence.binary", golds, a), rows_of("presence.binary", golds, golds), profile=profile_of("paper")
    )
    assert found.difference == pytest.approx(0.5)


def test_different_rows_are_refused():
    golds = ["yes", "no"]
    first = rows_of("presence.binary", golds, golds)
    with pytest.raises(UserError, match="1 of 2 examples are in one of the two only, such as '1'"):
        paired(first, first[:1], profile=STRICT, resamples=10, seed=0)
    other = rows_of("presence.binary", ["yes", "yes"], golds)
    with pytest.raises(UserError, match="example 1: has two gold answers"):
        paired(first, other, profile=STRICT, resamples=10, seed=0)
    with pytest.raises(UserError, match="two examples have this id"):
        paired(first, [*first, first[0]], profile=STRICT, resamples=10, seed=0)


def test_one_place_gives_no_difference_interval():
    rows = rows_of("presence.binary", ["yes", "no"], ["yes", "yes"], places=[0, 0])
    one = difference(rows, rows)
    assert (one.low, one.high, one.p) == (None, None, None)
    assert difference_of(0.1, np.array([0.1, 0.2]), np.zeros(1), 1.0) is None


@pytest.mark.parametrize(
    ("name", "before", "after", "expected"),
    [
        ("object.presence", 0.5, 0.75, 0.5),
        ("object.presence", 0.5, 0.25, -0.5),
        ("object.count", 4.0, 1.0, 0.75),
        ("object.count", 1.0, 4.0, -3.0),
        ("object.presence", 0.0, 0.5, None),
        ("object.presence", None, 0.5, None),
        ("object.presence", 0.5, None, None),
    ],
)
def test_gain_is_the_studys(name, before, after, expected):
    pair = [
        Score("m", phase, "real", "strict", "metric", name, "", value, None, None, 1, 1, 0.0, None)
        for phase, value in (("before", before), ("after", after))
    ]
    assert gain(*pair) == (None if expected is None else pytest.approx(expected))
    assert all(gain(*pair) is None for pair in itertools.permutations([None, pair[0]]))
