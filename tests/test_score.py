"""Scores against scikit-learn, brute force and plain loops on random runs; and the files they travel in."""

import dataclasses
import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, mean_absolute_error

from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.evaluate.predictions import merge_predictions
from urbanvlm.evaluate.score import score_run
from urbanvlm.evaluate.scores_file import read_scores, write_scores
from urbanvlm.records import Example, Prediction, Score

TABLE = [key for key, metric in METRICS.items() if metric.in_table]
GOLDS = {
    "yes_no": ["Yes", "No"],
    "integer": ["0", "1", "2", "5", "9"],
    "share": ["0.00", "0.10", "0.35", "0.80"],
    "number": ["4.5", "12.25", "30.00"],
    "class": ["car", "person", "bus", "tree"],
    "depth_label": ["low", "moderate", "high"],
    "side_label": ["left side", "right side", "evenly spread"],
}
CHOICES = {"multi_hop.which_is_more": ["people", "cars"]}
CLASS_IN_F1 = {"negation.exclusion_choice", "multi_hop.which_is_more"}
STAMP = {"model": "blip2", "phase": "after", "profile": "strict"}


def example(id_, subtype, answer, place="p0"):
    return Example(id_, f"{place}_heading0", place, "What do you see?", answer, "perceptual", subtype)


def random_run(seed, rows=400, places=23, unparsed=0.1):
    """Examples of every subtype, predictions that are right half of the time, train examples."""
    rng = np.random.default_rng(seed)
    names = list(SUBTYPES)

    def draw(count, prefix):
        for number in range(count):
            subtype = names[number % len(names)]
            kind = SUBTYPES[subtype].answer_kind
            answers = CHOICES.get(subtype, GOLDS[kind])
            yield example(f"{prefix}{number}", subtype, str(rng.choice(answers)), f"p{rng.integers(places)}")

    examples = list(draw(rows, "e"))
    predictions = {}
    for item in examples:
        kind = SUBTYPES[item.subtype].answer_kind
        text = item.answer if rng.random() < 0.5 else rng.choice(CHOICES.get(item.subtype, GOLDS[kind]))
        draw_bad = rng.random()
        if draw_bad < unparsed / 2:
            continue
        text = "I cannot tell" if draw_bad < unparsed else text
        predictions[item.id] = Prediction(item.id, str(text), "m", "h")
    return examples, predictions, list(draw(rows, "t"))


def run(examples, predictions, train=None, resamples=50, seed=0, **more):
    """name -> score, of the metrics, by macro average."""
    scores = score_run(examples, predictions, train, **STAMP | more, resamples=resamples, seed=seed)
    return {s.name: s for s in scores if s.level == "metric" and s.average != "weighted"}


def of_metric(examples, key):
    return [item for item in examples if SUBTYPES[item.scored_subtype].metric == key]


def texts(examples, predictions):
    return [
        None if (p := predictions.get(item.id)) is None or p.text == "I cannot tell" else p.text for item in examples
    ]


def reference(rows, guesses, average="macro"):
    """The metric straight from its definition, with scikit-learn."""
    key = SUBTYPES[rows[0].scored_subtype].metric
    kind = METRICS[key].score
    golds = [row.answer for row in rows]
    if kind == "mae":
        numbers = [float(g) for g in golds]
        high = 1.0 if rows[0].scored_subtype == "viewfactor.scalar" else max(numbers)
        far = [0.0 if g > high - g else high for g in numbers]
        return mean_absolute_error(numbers, [f if t is None else float(t) for t, f in zip(guesses, far, strict=True)])
    if kind == "f1_macro":
        guesses = ["nothing read" if t is None else t for t in guesses]
        return f1_score(golds, guesses, labels=sorted(set(golds)), average=average, zero_division=0)
    truth, said = [], []
    for row, text in zip(rows, guesses, strict=True):
        if row.scored_subtype in CLASS_IN_F1:  # the gold class is to be said, any other is said in vain
            right = text == row.answer
            truth += [True] if right else [True, False]
            said += [True] if right else [False, True]
        else:
            truth.append(row.answer == "Yes")
            said.append(row.answer == "No" if text is None else text == "Yes")
    return f1_score(truth, said, zero_division=1)


@pytest.mark.parametrize("seed", range(5))
def test_every_metric_agrees_with_scikit_learn(seed):
    examples, predictions, _ = random_run(seed)
    scores = run(examples, predictions)
    assert list(scores)[:13] == TABLE
    for key in METRICS:
        rows = of_metric(examples, key)
        guesses = texts(rows, predictions)
        score = scores[key]
        assert score.value == pytest.approx(reference(rows, guesses))
        assert (score.asked, score.scored) == (len(rows), sum(text is not None for text in guesses))
        assert score.unparsed_share == pytest.approx(1 - score.scored / score.asked)
        assert score.low <= score.value <= score.high


def test_weighted_f1_stands_beside_macro():
    examples, predictions, train = random_run(7)
    for score in score_run(examples, predictions, train, **STAMP, resamples=20, seed=0):
        if score.average != "weighted":
            continue
        rows = of_metric(examples, score.name)
        assert score.value == pytest.approx(reference(rows, texts(rows, predictions), "weighted"))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("with_train", [True, False])
def test_blind_baseline_is_the_best_favourite_answer_per_subtype(seed, with_train):
    examples, predictions, train = random_run(seed, rows=150)
    train = train[:100] if with_train else None
    for key, score in run(examples, predictions, train, resamples=2).items():
        rows = of_metric(examples, key)
        subtypes = list(dict.fromkeys(row.subtype for row in rows))
        options = [brute_force_favourites(s, train or examples) for s in subtypes]
        results = []
        for answers in itertools.product(*options):
            constant = dict(zip(subtypes, answers, strict=True))
            results.append(reference(rows, [constant[row.subtype] for row in rows]))
        assert score.blind_baseline == pytest.approx((min if METRICS[key].score == "mae" else max)(results))


def brute_force_favourites(subtype, examples):
    golds = [item.answer for item in examples if item.subtype == subtype]
    if SUBTYPES[subtype].answer_kind in {"integer", "share", "number"}:
        loss = {c: sum(abs(float(c) - float(g)) for g in golds) for c in set(golds)}
        return [c for c, total in loss.items() if math.isclose(total, min(loss.values()), abs_tol=1e-9)]
    counts = Counter(golds)
    return [answer for answer, count in counts.items() if count == max(counts.values())]


def test_a_subtype_without_training_rows_takes_its_blind_answer_from_the_rows_scored():
    examples = [example(str(i), "presence.binary", a) for i, a in enumerate(["Yes", "Yes", "No"])]
    other = [example("t", "count", "3")]
    scores = run(examples, {}, other)
    assert scores[SUBTYPES["presence.binary"].metric].blind_baseline == pytest.approx(0.8)


def recounted(rows, key, guesses, numbers):
    """The score of some of the rows; the range of the gold answers, where errors need one, is that of all."""
    if key == "count":
        high = max(numbers)
        far = [0.0 if float(r.answer) > high - float(r.answer) else high for r in rows]
        guesses = [str(f) if t is None else t for t, f in zip(guesses, far, strict=True)]
    return reference(rows, guesses)


@pytest.mark.parametrize("key", ["presence.binary", "depth.range.label", "count"])
def test_interval_is_that_of_brute_force_over_resampled_places(key):
    examples, predictions, _ = random_run(3, rows=700, places=9)
    rows = [item for item in examples if item.subtype == key]
    said = {item.id: predictions[item.id] for item in rows if item.id in predictions}
    score = run(rows, said, resamples=200, seed=11)[SUBTYPES[key].metric]

    def value(places):
        sample = [row for place in places for row in rows if row.place == place]
        return recounted(sample, key, texts(sample, predictions), numbers)

    places = sorted({row.place for row in rows})
    n = len(places)
    numbers = [float(row.answer) for row in rows] if key == "count" else []
    rng = np.random.default_rng(11)
    values = [value([places[i] for i in rng.integers(0, n, size=n)]) for _ in range(200)]
    error = np.std(values, ddof=1) * math.sqrt(n / (n - 1))
    without = [value(places[:i] + places[i + 1 :]) for i in range(n)]
    kurtosis = scipy.stats.kurtosis(without, fisher=False)
    freedom = min(n - 1, 2 * n / (kurtosis - (n - 3) / (n - 1)))
    reach = scipy.stats.t.ppf(0.975, freedom) * error
    v = score.value
    if key == "count":
        ends = (v * math.exp(-reach / v), v * math.exp(reach / v))
    else:
        ends = scipy.special.expit(scipy.special.logit(v) + np.array([-1, 1]) * reach / (v * (1 - v)))
    assert (score.low, score.high) == pytest.approx(tuple(ends))


def test_intervals_depend_on_the_seed_alone():
    examples, predictions, train = random_run(1)
    shuffled = [examples[i] for i in np.random.default_rng(0).permutation(len(examples))]
    first, again = run(examples, predictions, train), run(shuffled, predictions, train)
    for key in METRICS:
        assert again[key].to_json() == pytest.approx(first[key].to_json())
    other = run(examples, predictions, train, seed=1)
    assert any((other[key].low, other[key].high) != (first[key].low, first[key].high) for key in METRICS)


def test_more_rows_of_the_same_places_do_not_narrow_the_interval():
    examples, predictions, _ = random_run(2, places=6)
    many = [example(f"{item.id}-{n}", item.subtype, item.answer, item.place) for item in examples for n in range(5)]
    said = {row.id: Prediction(row.id, p.text, "", "") for row in many if (p := predictions.get(row.id.split("-")[0]))}
    once, five_times = run(examples, predictions), run(many, said)
    for key in METRICS:
        assert (five_times[key].low, five_times[key].high) == pytest.approx((once[key].low, once[key].high))


def yes_no_run(golds, said, places=None):
    examples = [
        example(str(i), "presence.binary", gold, f"p{places[i] if places else i}") for i, gold in enumerate(golds)
    ]
    predictions = {str(i): Prediction(str(i), text, "", "") for i, text in enumerate(said) if text is not None}
    return run(examples, predictions)[SUBTYPES["presence.binary"].metric]


def test_an_unparsed_answer_is_as_wrong_as_the_wrong_one():
    for golds in (["Yes", "Yes", "No"], ["No", "Yes", "No"]):
        opposite = {"Yes": "No", "No": "Yes"}[golds[0]]
        wrong = yes_no_run(golds, [opposite, *golds[1:]])
        for text in ("I cannot tell", None):
            unread = yes_no_run(golds, [text, *golds[1:]])
            assert unread.value == wrong.value < 1
            assert (unread.scored, unread.asked, unread.unparsed_share) == (2, 3, pytest.approx(1 / 3))


def test_all_right_and_all_wrong_are_not_claimed_with_certainty():
    right = yes_no_run(["Yes"] * 10, ["Yes"] * 10)
    assert (right.value, right.low, right.high) == (1, pytest.approx(0.025 ** (1 / 10)), 1)
    wrong = yes_no_run(["Yes"] * 10, ["No"] * 10)
    assert (wrong.value, wrong.low, wrong.high) == (0, 0, pytest.approx(1 - 0.025 ** (1 / 10)))
    few_yes = yes_no_run(["Yes"] * 2 + ["No"] * 8, ["Yes"] * 2 + ["No"] * 8)
    assert few_yes.low == pytest.approx(0.025 ** (1 / 2)), "places without a yes say nothing about F1 of yes"


def test_an_error_of_zero_is_not_claimed_with_certainty():
    examples = [example(str(i), "count", str(2 * i), f"p{i}") for i in range(5)]
    score = run(examples, {e.id: Prediction(e.id, e.answer, "", "") for e in examples})[SUBTYPES["count"].metric]
    assert (score.value, score.low, score.high) == (0, 0, pytest.approx((1 - 0.025 ** (1 / 5)) * 8))


def test_one_place_gives_no_interval():
    score = yes_no_run(["Yes", "No"], ["Yes", "Yes"], places=[0, 0])
    assert (score.value, score.low, score.high) == (pytest.approx(2 / 3), None, None)


def test_no_yes_asked_and_none_said_is_no_error():
    assert yes_no_run(["No", "No"], ["No", "No"]).value == 1
    assert yes_no_run(["No", "No"], ["No", "Yes"]).value == 0


@pytest.mark.parametrize(
    ("subtype", "gold"), [("count", "0"), ("count", "4"), ("viewfactor.scalar", "0.00"), ("viewfactor.scalar", "1.00")]
)
def test_an_unparsed_number_errs_even_where_all_gold_answers_are_one(subtype, gold):
    examples = [example(str(i), subtype, gold, f"p{i}") for i in range(3)]
    assert run(examples, {})[SUBTYPES[subtype].metric].value >= 1


def test_metrics_that_were_not_asked_are_present_and_empty():
    scores = run([example("a", "occlusion.binary", "Yes")], {"a": Prediction("a", "yes", "", "")})
    assert list(scores) == [*TABLE, SUBTYPES["occlusion.binary"].metric]
    empty = scores[TABLE[0]]
    assert (empty.value, empty.low, empty.high, empty.blind_baseline) == (None,) * 4
    assert (empty.asked, empty.scored, empty.unparsed_share) == (0, 0, 0.0)


def of_level(level, examples, predictions, train=None, **more):
    scores = score_run(examples, predictions, train, **STAMP | more, resamples=100, seed=0)
    return {score.name: score for score in scores if score.level == level}


def test_scores_come_as_metrics_weighted_groups_subtypes():
    examples, predictions, train = random_run(4)
    scores = score_run(examples, predictions, train, **STAMP, images="blank", resamples=10, seed=0)
    kinds = [(score.level, score.average == "weighted") for score in scores]
    assert kinds == sorted(kinds, key=[("metric", False), ("metric", True), ("group", False), ("subtype", False)].index)
    assert {score.images for score in scores} == {"blank"}
    assert [score.name for score in scores if score.level == "subtype"] == list(SUBTYPES)
    averages = {
        score.name: score.average for score in scores if score.level == "metric" and score.average != "weighted"
    }
    assert averages == {key: "macro" if metric.score == "f1_macro" else "" for key, metric in METRICS.items()}


@pytest.mark.parametrize("seed", range(2))
def test_a_subtype_is_scored_by_its_kind_of_answer_alone(seed):
    examples, predictions, train = random_run(seed)
    for name, score in of_level("subtype", examples, predictions, train).items():
        rows = [item for item in examples if item.subtype == name]
        guesses = texts(rows, predictions)
        if name in CLASS_IN_F1:
            said = ["nothing read" if text is None else text for text in guesses]
            golds = [row.answer for row in rows]
            expected = f1_score(golds, said, labels=sorted(set(golds)), average="macro", zero_division=0)
        else:
            expected = reference(rows, guesses)
        assert score.value == pytest.approx(expected), name
        assert (score.asked, score.scored) == (len(rows), sum(text is not None for text in guesses))
        assert score.low <= score.value <= score.high


def test_a_group_is_the_mean_of_its_f1_metrics_in_the_table():
    examples, predictions, train = random_run(6)
    metrics = run(examples, predictions, train)
    groups = of_level("group", examples, predictions, train)
    assert list(groups) == ["proportion", "depth", "layout", "object", "compositional"]
    for name, group in groups.items():
        members = [metrics[key] for key in TABLE if METRICS[key].group == name and METRICS[key].score != "mae"]
        assert group.value == pytest.approx(np.mean([score.value for score in members]))
        assert group.blind_baseline == pytest.approx(np.mean([score.blind_baseline for score in members]))
        assert group.asked == sum(score.asked for score in members)
        assert group.low < group.value < group.high
        widest = max(score.high - score.low for score in members)
        assert len(members) == 1 or group.high - group.low < widest, "a mean is surer than what it is a mean of"


def test_a_group_of_which_one_metric_is_at_its_end_is_no_surer_than_that_metric():
    right = [example(f"a{i}", "presence.binary", "Yes", f"p{i}") for i in range(10)]
    wrong = [example(f"b{i}", "object.cooccurrence", "Yes", f"p{i}") for i in range(10)]
    said = {row.id: Prediction(row.id, "Yes" if row in right else "No", "", "") for row in right + wrong}
    group = of_level("group", right + wrong, said)["object"]
    open_end = (1 - 0.025 ** (1 / 10)) / 2
    assert (group.value, group.low, group.high) == (0.5, pytest.approx(0.5 - open_end), pytest.approx(0.5 + open_end))


def test_lift_is_positive_where_better_than_blind():
    examples, predictions, train = random_run(5)
    for score in run(examples, predictions, train).values():
        better = score.value - score.blind_baseline
        assert score.lift == pytest.approx(-better if METRICS[score.name].score == "mae" else better)
    assert run([], {})[TABLE[0]].lift is None


def test_places_without_a_row_of_a_metric_do_not_make_it_surer():
    """Of 40 places three show a bus; resamples in which none of them is drawn have no score."""
    seen = [example(f"a{i}", "presence.binary", "Yes", f"p{i}") for i in range(3)]
    rest = [example(f"b{i}", "count", "2", f"q{i}") for i in range(37)]
    said = {row.id: Prediction(row.id, text, "", "") for row, text in zip(seen, ["Yes", "No", "Yes"], strict=True)}
    said |= {row.id: Prediction(row.id, "3", "", "") for row in rest}
    score = run(seen + rest, said)["object.presence"]
    assert 0 <= score.low < 0.5 and score.high > 0.9


# ---- the paper profile


def test_the_paper_profile_scores_by_the_published_rules():
    """Not visible is a yes there, what says nothing is no, and a class that is only guessed lowers the macro F1."""
    examples = [
        example("a", "presence.binary", "Yes"),
        example("b", "presence.binary", "No", "p1"),
        example("c", "presence.binary", "Yes", "p2"),
        example("d", "count", "3"),
        example("e", "depth.range.label", "high"),
        example("f", "depth.range.label", "high", "p1"),
    ]
    said = {"a": "a bus is not visible", "b": "cannot tell", "c": "**", "d": "a few", "e": "high", "f": "nonsense"}
    predictions = {id_: Prediction(id_, text, "", "") for id_, text in said.items()}
    scores = run(examples, predictions, profile="paper")
    assert scores["object.presence"].value == pytest.approx(f1_score([1, 0, 1], [1, 0, 0]))
    assert scores["object.count"].value == 0
    expected = f1_score(["high", "high"], ["high", "unknown"], average="macro", zero_division=0)
    assert scores["depth.categorical"].value == pytest.approx(expected)
    assert scores["object.presence"].profile == "paper"


def test_the_paper_profile_drops_a_text_of_marks_alone_and_counts_it_as_unparsed():
    examples = [example(str(i), "count", "3", f"p{i}") for i in range(4)]
    predictions = {str(i): Prediction(str(i), text, "", "") for i, text in enumerate(["3", "***", "4", "3"])}
    score = run(examples, predictions, profile="paper")["object.count"]
    assert score.value == pytest.approx(1 / 3)
    assert (score.asked, score.scored, score.unparsed_share) == (4, 3, 0.25)


def test_in_a_chain_of_thought_the_paper_profile_takes_gold_from_the_rationale():
    row = dataclasses.replace(example("a", "count", "3"), cot_answer="Cars stand here. Answer: 4")
    said = {"a": Prediction("a", "4", "", "")}
    assert run([row], said, profile="paper", chain_of_thought=True)["object.count"].value == 0
    assert run([row], said, profile="paper")["object.count"].value == 1
    assert run([row], said, chain_of_thought=True)["object.count"].value == 1


def test_every_metric_has_one_score_in_the_paper_profile_too():
    examples, predictions, train = random_run(8)
    for score in score_run(examples, predictions, train, **STAMP | {"profile": "paper"}, resamples=20, seed=0):
        assert math.isfinite(score.value) and math.isfinite(score.blind_baseline)
        assert score.low <= score.value <= score.high


def test_a_paraphrase_scores_as_what_it_rephrases():
    score = run([example("a", "paraphrase.from_count", "3")], {"a": Prediction("a", "3", "", "")})
    assert score[SUBTYPES["count"].metric].asked == 1


@given(
    golds=st.lists(st.booleans(), min_size=2, max_size=12),
    said=st.lists(st.sampled_from(["Yes", "No", "?", None]), min_size=12, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_scores_stay_in_their_range(golds, said):
    score = yes_no_run(["Yes" if gold else "No" for gold in golds], said[: len(golds)])
    assert 0 <= score.low <= score.value <= score.high <= 1
    assert 0 <= score.blind_baseline <= 1


@pytest.mark.parametrize(
    ("examples", "predictions", "more", "words"),
    [
        ([example("a", "count", "3")], {"b": Prediction("b", "3", "", "")}, {}, "prediction for b: no such example"),
        ([example("a", "count", "3")] * 2, {}, {}, "example a: two examples have this id"),
        ([example("a", "count", "lots")], {}, {}, "example a: gold answer 'lots'"),
        ([example("a", "no.such", "3")], {}, {}, "example a: unknown subtype"),
        ([example("a", "count", "3")], {}, {"profile": "kind"}, "'kind' is unknown"),
    ],
)
def test_mistakes_are_named(examples, predictions, more, words):
    with pytest.raises(UserError, match=words):
        run(examples, predictions, **more)


# ---- files ----------------------------------------------------------------------------------------------------------


def shard(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(id_, text="yes", **more):
    return {"example_id": id_, "text": text} | more


EXAMPLES = [example(id_, "presence.binary", "Yes") for id_ in "abc"]


def test_merging_gives_every_asked_id_once_in_the_examples_order(tmp_path):
    shards = [
        shard(tmp_path / "shard-000-of-002.jsonl", row("c", "no", model_id="m", prompt_hash="h"), row("a")),
        shard(tmp_path / "shard-001-of-002.jsonl", row("b", "")),
    ]
    merged = merge_predictions(EXAMPLES, shards)
    assert list(merged) == ["a", "b", "c"]
    assert merged["c"] == Prediction("c", "no", "m", "h")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row("a"), row("b")], "1 of 3 examples have no answer, the first is 'c'"),
        ([row("a"), row("b"), row("c"), row("a")], r"s.jsonl:4: second answer to 'a' \(first: .*s.jsonl:1\)"),
        ([row("a"), row("z")], "s.jsonl:2: example 'z' was not asked"),
        ([{"example_id": "a"}], "s.jsonl:1: text is missing"),
        ([row("a", 3)], "s.jsonl:1: text is no text"),
        ([row("a", float("nan"))], "s.jsonl:1: holds NaN"),
        ([row("a"), ["b"]], "s.jsonl:2: not a JSON object"),
        ([row("a", model_id=None)], "s.jsonl:1: model_id is no text"),
    ],
)
def test_merging_names_what_is_wrong(tmp_path, rows, words):
    with pytest.raises(UserError, match=words):
        merge_predictions(EXAMPLES, [shard(tmp_path / "s.jsonl", *rows)])


def test_scores_survive_their_file(tmp_path):
    examples, predictions, train = random_run(0)
    scores = [
        *run(examples, predictions, train).values(),
        Score("m", "before", "real", "strict", "metric", TABLE[0], "", None, None, None, 0, 0, 0.0, None),
    ]
    path = tmp_path / "scores.json"
    write_scores(path, scores)
    keys = [field.name for field in dataclasses.fields(Score)]
    assert " ".join(keys) == (
        "model phase images profile level name average value low high scored asked unparsed_share blind_baseline "
        "out_of_range_share"
    )
    assert all(list(entry) == [*keys, "lift"] for entry in json.loads(path.read_text()))
    for written, read in zip(scores, read_scores(path), strict=True):
        assert read.to_json() == pytest.approx(written.to_json(), abs=1.1e-6)
    write_scores(tmp_path / "again.json", read_scores(path))
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("text", ["", "[", "{}", "[1]", '[{"model": "m"}]'])
def test_a_broken_scores_file_is_named(tmp_path, text):
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"scores\.json"):
        read_scores(path)
