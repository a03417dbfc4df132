"""The dataset: labels are even where the scenes allow it, places are apart, and the same seed gives the same bytes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from dataset_support import many_metadata, write_metadata
from hypothesis import given
from hypothesis import strategies as st

from urbanvlm.dataset import build
from urbanvlm.dataset.balance import Pool, spread
from urbanvlm.dataset.build import SPLITS, build_dataset, split_places, split_sizes
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.rules import RULES, drafts
from urbanvlm.dataset.rules.rule import Draft
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.experiment import DEFAULT_THRESHOLDS, Data, Scenes, Thresholds
from urbanvlm.records import Example

SCENES = Scenes(places=40, examples_per_subtype=60)
IMAGE = many_metadata(1)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    write_metadata(folder, many_metadata(SCENES.places))
    build_dataset(Data(scenes=SCENES, chain_of_thought=False), 3, folder)
    return folder


@pytest.fixture(scope="module")
def splits(folder: Path) -> dict[str, list[Example]]:
    return {split: read_examples(folder / f"{split}.jsonl") for split in SPLITS}


def kind(example: Example) -> str:
    return SUBTYPES[example.subtype].answer_kind


def balanced(drafts: list[Draft], limit: int, seed: str) -> list[Draft]:
    pool = Pool(drafts[0].subtype if drafts else "count", limit, seed)
    for draft in drafts:
        pool.add(draft)
    return pool.choose()


def draft(subtype: str, answer: str, **about: str) -> Draft:
    return Draft(RULES[subtype], IMAGE, about, answer, DEFAULT_THRESHOLDS, 0, IMAGE.image_id)


def test_yes_and_no_are_even_for_every_object_of_every_subtype(splits: dict[str, list[Example]]) -> None:
    counts: defaultdict[tuple[object, ...], Counter[str]] = defaultdict(Counter)
    for split, examples in splits.items():
        for e in examples:
            if kind(e) == "yes_no":
                counts[(split, e.subtype, *e.extra.values())][e.answer] += 1
    assert len(counts) > 60
    assert all(len(count) == 2 and len(set(count.values())) == 1 for count in counts.values())


def test_no_label_has_more_than_half(splits: dict[str, list[Example]]) -> None:
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for split, examples in splits.items():
        for e in examples:
            counts[split, e.subtype][e.answer] += 1
    assert len(counts) == len(SPLITS) * len(RULES)
    assert all(2 * max(count.values()) <= count.total() for count in counts.values())


def test_no_wording_tells_the_answer(splits: dict[str, list[Example]]) -> None:
    """Yes and No to the very same text are as many, so that even who remembers every text of the file gains nothing."""
    for examples in splits.values():
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for e in examples:
            if SUBTYPES[e.subtype].written and len(SUBTYPES[e.subtype].written or ()) == 2:
                counts[e.question][e.answer] += 1
        assert len(counts) > 60
        assert all(len(count) == 2 and len(set(count.values())) == 1 for count in counts.values())


def test_no_text_of_a_choice_tells_the_answer(splits: dict[str, list[Example]]) -> None:
    by_text: defaultdict[str, Counter[str]] = defaultdict(Counter)
    positions: Counter[int] = Counter()
    for e in splits["train"]:
        if e.subtype == "negation.exclusion_choice":
            by_text[e.question][e.answer] += 1
            positions[sorted(e.extra.values(), key=e.question.index).index(e.answer)] += 1
    assert all(len(count) == 3 and len(set(count.values())) == 1 for count in by_text.values())
    assert len(set(positions.values())) == 1 and len(positions) == 3


def test_the_side_of_a_thing_is_open(splits: dict[str, list[Example]]) -> None:
    for examples in splits.values():
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for e in examples:
            if e.subtype == "spatial.distribution.label":
                counts[e.extra["object"]][e.answer] += 1
        assert counts
        assert all(len(count) == 3 and len(set(count.values())) == 1 for count in counts.values())


def test_a_constant_for_each_thing_is_no_better_a_guess_of_a_number(splits: dict[str, list[Example]]) -> None:
    for subtype in ("count", "viewfactor.scalar", "depth.average_per_object"):
        numbers: defaultdict[str, list[float]] = defaultdict(list)
        for e in splits["train"]:
            if e.subtype == subtype:
                numbers[next(iter(e.extra.values()))].append(float(e.answer))
        every = [number for of_thing in numbers.values() for number in of_thing]
        best = min(sum(abs(n - guess) for n in every) for guess in every)
        knowing = sum(min(sum(abs(n - guess) for n in of_thing) for guess in of_thing) for of_thing in numbers.values())
        assert len(numbers) >= 3 and knowing > 0.9 * best


def test_no_place_is_in_two_splits(splits: dict[str, list[Example]]) -> None:
    places = [{e.place for e in examples} for examples in splits.values()]
    assert sum(map(len, places)) == len(set.union(*places)) == SCENES.places
    assert [len(p) for p in places] == [28, 4, 8]
    assert all(e.image_id.startswith(f"{e.place}_") for examples in splits.values() for e in examples)


def test_no_split_has_more_than_its_share(splits: dict[str, list[Example]]) -> None:
    limits = {"train": 60, "val": round(60 * 4 / 28), "test": round(60 * 8 / 28)}
    for split, examples in splits.items():
        counts = Counter(e.subtype for e in examples)
        assert max(counts.values()) <= limits[split]
        assert counts["presence.binary"] == limits[split] // 2 * 2


def test_ids_count_the_rows_of_an_image_and_nothing_is_asked_twice(splits: dict[str, list[Example]]) -> None:
    for examples in splits.values():
        seen: Counter[str] = Counter()
        for e in examples:
            assert e.id == f"{e.image_id}#{seen[e.image_id]}"
            seen[e.image_id] += 1
        assert len({(e.image_id, e.subtype, *e.extra.values()) for e in examples}) == len(examples)


def test_rows_are_mixed(splits: dict[str, list[Example]]) -> None:
    start = splits["train"][:60]
    assert len({e.subtype for e in start}) >= 9 and len({e.place for e in start}) >= 15


def test_counts_are_spread_over_their_values(splits: dict[str, list[Example]]) -> None:
    counts = Counter(e.answer for e in splits["train"] if e.subtype == "count")
    assert set(counts) == set("01234567")
    assert max(counts.values()) <= 0.4 * counts.total()


def test_the_same_seed_gives_the_same_bytes_another_seed_other_places(folder: Path, tmp_path: Path) -> None:
    def build(seed: int) -> dict[str, bytes]:
        write_metadata(tmp_path, many_metadata(SCENES.places))
        build_dataset(Data(scenes=SCENES, chain_of_thought=False), seed, tmp_path)
        return {name: (tmp_path / name).read_bytes() for name in ("train.jsonl", "val.jsonl", "test.jsonl", "card.md")}

    first = {name: (folder / name).read_bytes() for name in ("train.jsonl", "val.jsonl", "test.jsonl", "card.md")}
    assert build(3) == first == build(3)
    build(4)
    assert {e.place for e in read_examples(tmp_path / "test.jsonl")} != {
        e.place for e in read_examples(folder / "test.jsonl")
    }


def test_the_global_random_state_does_not_matter(tmp_path: Path, folder: Path) -> None:
    import random

    random.seed(99)
    write_metadata(tmp_path, many_metadata(SCENES.places))
    build_dataset(Data(scenes=SCENES, chain_of_thought=False), 3, tmp_path)
    assert (tmp_path / "test.jsonl").read_bytes() == (folder / "test.jsonl").read_bytes()


def test_chain_of_thought_changes_nothing_but_adds_the_rationale(
    tmp_path: Path, splits: dict[str, list[Example]]
) -> None:
    write_metadata(tmp_path, many_metadata(SCENES.places))
    build_dataset(Data(scenes=SCENES, chain_of_thought=True), 3, tmp_path)
    for split, plain in splits.items():
        rows = [json.loads(line) for line in (tmp_path / f"{split}.jsonl").read_text().splitlines()]
        rationales = [row.pop("cot_answer") for row in rows]
        assert rows == [e.to_json() for e in plain]
        assert all(text.endswith(f"Answer: {row['answer']}") for text, row in zip(rationales, rows, strict=True))


def test_only_the_subtypes_wanted(tmp_path: Path) -> None:
    write_metadata(tmp_path, many_metadata(12))
    scenes = Scenes(places=12, subtypes=("count", "depth.variation", "count"), validation_share=0.2)
    build_dataset(Data(scenes=scenes), 0, tmp_path)
    examples = read_examples(tmp_path / "train.jsonl")
    assert {e.subtype for e in examples} == {"count", "depth.variation"}
    assert len({(e.image_id, *e.extra.values()) for e in examples if e.subtype == "count"}) == sum(
        e.subtype == "count" for e in examples
    )


def test_the_card_counts_what_is_in_the_files(folder: Path, splits: dict[str, list[Example]]) -> None:
    card = (folder / "card.md").read_text()
    for split, examples in splits.items():
        images = len({e.image_id for e in examples})
        assert f"| {split} | {len({e.place for e in examples})} | {images} | {len(examples)} |" in card
        sides = Counter(e.answer for e in examples if e.subtype == "spatial.distribution")
        named = len({e.extra["object"] for e in examples if e.subtype == "spatial.distribution"})
        labels = f"50 % | No {sides['No']}, Yes {sides['Yes']} |"
        assert f"| spatial.distribution | {split} | {sides.total()} | {named} of 9 | {labels}" in card
        assert all(f"| {subtype} | {split} |" in card for subtype in SUBTYPES)


def test_the_card_says_what_could_not_be_balanced(tmp_path: Path) -> None:
    records = many_metadata(12)
    for record in records:
        for name in ("car", "bus"):
            record.objects.pop(name, None)  # type: ignore[attr-defined]
        if record.place == "image_000000":
            record.objects["bus"] = 1  # type: ignore[index]
    write_metadata(tmp_path, records)
    scenes = Scenes(places=12, subtypes=("presence.binary",), validation_share=0.2)
    build_dataset(Data(scenes=scenes), 0, tmp_path)
    card = (tmp_path / "card.md").read_text()
    asked = {split: {e.extra["object"] for e in read_examples(tmp_path / f"{split}.jsonl")} for split in SPLITS}
    assert not any("car" in names for names in asked.values())
    for split in SPLITS:
        line = next(line for line in card.splitlines() if line.startswith(f"- presence.binary, {split}: nothing about"))
        assert "car" in line and "do not show every answer" in line
        assert all((name in line) == (name not in asked[split]) for name in ("bench", "bus", "truck"))


@pytest.mark.parametrize(
    ("scenes", "split"),
    [
        ({"places": 2}, "val"),
        ({"places": 10, "validation_share": 0.05}, "val"),
        ({"places": 20, "test_share": 0.0}, "test"),
        ({"places": 10, "test_share": 0.5, "validation_share": 0.4}, "train"),
    ],
)
def test_too_few_places_are_refused_before_anything_is_written(
    tmp_path: Path, scenes: dict[str, object], split: str
) -> None:
    settings = Scenes.model_validate(scenes)
    write_metadata(tmp_path, many_metadata(settings.places))
    with pytest.raises(UserError, match=rf"data\.scenes\.places.*{split} split.*needs 2"):
        build_dataset(Data(scenes=settings), 0, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["metadata.jsonl"]


def test_weights_change_how_often_a_subtype_is_asked_in_every_split(
    tmp_path: Path, splits: dict[str, list[Example]]
) -> None:
    weights = {"presence.binary": 0.5, "count": 2.0}
    write_metadata(tmp_path, many_metadata(SCENES.places))
    build_dataset(Data(scenes=SCENES.model_copy(update={"weights": weights})), 3, tmp_path)
    for split, before in splits.items():
        asked, unchanged = (
            Counter(e.subtype for e in examples) for examples in (read_examples(tmp_path / f"{split}.jsonl"), before)
        )
        assert asked["presence.binary"] == pytest.approx(unchanged["presence.binary"] / 2, abs=1)
        assert asked["count"] > 1.5 * unchanged["count"]
        assert {n: c for n, c in asked.items() if n not in weights} == {
            n: c for n, c in unchanged.items() if n not in weights
        }


def test_a_split_without_a_question_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    records = many_metadata(20)
    for record in records:
        record.objects.clear()  # type: ignore[attr-defined]
    write_metadata(tmp_path, records)
    with pytest.raises(UserError, match=r"data\.scenes\.places: 20: gives the train split no question"):
        build_dataset(Data(scenes=Scenes(places=20, subtypes=("presence.binary",))), 0, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["metadata.jsonl"]


@given(places=st.integers(20, 300), seed=st.integers(0, 5))
def test_splits_cover_the_places_in_the_sizes_promised(places: int, seed: int) -> None:
    sizes = split_sizes(places, 0.1, 0.2, "places")
    names = [f"p{i}" for i in range(places)]
    split_of = split_places(names, sizes, seed)
    assert set(split_of) == set(names)
    assert Counter(split_of.values()) == sizes
    assert split_of == split_places(reversed(names), sizes, seed)


YES_NO = st.builds(
    lambda thing, answer: draft("presence.binary", answer, object=thing),
    st.sampled_from(("car", "bus", "tree")),
    st.sampled_from(("Yes", "No")),
)
LABELS = st.sampled_from(("low", "moderate", "high")).map(lambda label: draft("depth.range.label", label))


@given(drafts=st.lists(YES_NO, max_size=60), limit=st.integers(2, 40))
def test_yes_no_takes_all_pairs_that_fit(drafts: list[Draft], limit: int) -> None:
    kept = balanced(drafts, limit, "seed")
    possible = kept_pairs = 0
    for thing in ("car", "bus", "tree"):
        have, got = (Counter(d.answer for d in ds if d.about["object"] == thing) for ds in (drafts, kept))
        assert got["Yes"] == got["No"] <= min(have["Yes"], have["No"])
        possible += min(have["Yes"], have["No"])
        kept_pairs += got["Yes"]
    assert kept_pairs == min(possible, limit // 2)


@given(drafts=st.lists(LABELS, max_size=60), limit=st.integers(2, 40))
def test_a_label_has_half_at_most_where_there_is_another(drafts: list[Draft], limit: int) -> None:
    kept = Counter(d.answer for d in balanced(drafts, limit, "seed"))
    have = Counter(d.answer for d in drafts)
    assert kept.total() <= limit and all(kept[label] <= have[label] for label in kept)
    if len(have) > 1:
        assert 2 * max(kept.values()) <= kept.total()
        assert set(kept) == set(have) or limit < len(have)
    else:
        assert not kept, "a constant would be right"


NUMBERS = st.builds(
    lambda thing, count: draft("count", str(count), object=thing),
    st.sampled_from(("car", "bus", "tree")),
    st.integers(0, 9),
)


@given(drafts=st.lists(NUMBERS, max_size=80), limit=st.integers(2, 40))
def test_numbers_of_every_thing_lie_around_one_middle(drafts: list[Draft], limit: int) -> None:
    kept = balanced(drafts, limit, "seed")
    assert len(kept) <= limit
    numbers = {
        thing: sorted(int(d.answer) for d in kept if d.about["object"] == thing) for thing in ("car", "bus", "tree")
    }
    middles = [half / 2 for half in range(20)]
    assert any(
        all(sum(n < middle for n in of_thing) == sum(n > middle for n in of_thing) for of_thing in numbers.values())
        for middle in middles
    )
    if any(len({d.answer for d in drafts if d.about["object"] == thing}) > 1 for thing in numbers):
        assert kept, "two values of one thing can be asked"


@given(available=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 30), min_size=1), total=st.integers(0, 90))
def test_spread_is_as_even_as_can_be(available: dict[str, int], total: int) -> None:
    quotas = spread(available, total)
    assert sum(quotas.values()) == min(total, sum(available.values()))
    assert all(quotas[key] <= available[key] for key in available)
    top = max(quotas.values())
    assert all(quotas[key] == available[key] or quotas[key] >= top - 1 for key in available)


def test_the_thresholds_of_the_experiment_count(tmp_path: Path) -> None:
    write_metadata(tmp_path, many_metadata(40))
    shares = {r.image_id: r.view_factors for r in many_metadata(40)}
    scenes = Scenes(places=40, subtypes=("viewfactor.dominance",))
    build_dataset(Data(scenes=scenes, thresholds=Thresholds(dominant_share=0.3)), 0, tmp_path)
    examples = read_examples(tmp_path / "train.jsonl")
    assert all((e.answer == "Yes") == (shares[e.image_id][e.extra["factor"]] > 0.3) for e in examples)
    assert any(0.3 < shares[e.image_id][e.extra["factor"]] <= 0.5 for e in examples)


def test_one_rationale_that_leads_to_two_answers_stops_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mute(*arguments: object) -> list[Draft]:
        found = drafts(*arguments)  # type: ignore[arg-type]
        return [replace(d, rule=replace(d.rule, seen=lambda *_: "I look. I see a street.")) for d in found]

    monkeypatch.setattr(build, "drafts", mute)
    write_metadata(tmp_path, many_metadata(20))
    with pytest.raises(ValueError, match="one rationale, two answers"):
        build_dataset(Data(scenes=Scenes(places=20, subtypes=("depth.variation",))), 0, tmp_path)


def test_a_guesser_that_learns_from_the_training_texts_gains_nothing_on_the_test(tmp_path: Path) -> None:
    write_metadata(tmp_path, many_metadata(120))
    build_dataset(Data(scenes=Scenes(places=120, examples_per_subtype=300)), 1, tmp_path)
    for key in (lambda e: e.question, lambda e: (e.subtype, *sorted(e.extra.items()))):
        learnt: defaultdict[object, Counter[str]] = defaultdict(Counter)
        for e in read_examples(tmp_path / "train.jsonl"):
            learnt[key(e)][e.answer] += 1
        asked = [e for e in read_examples(tmp_path / "test.jsonl") if kind(e) == "yes_no" and learnt[key(e)]]
        right = sum(learnt[key(e)].most_common(1)[0][0] == e.answer for e in asked)
        assert len(asked) > 800 and 0.45 <= right / len(asked) <= 0.55


def test_a_pool_holds_no_more_than_can_be_chosen_and_prefers_nobody() -> None:
    """Whether early or late in the file, an image has the same chance."""
    taken: Counter[str] = Counter()
    for seed in range(200):
        pool = Pool("presence.binary", 10, str(seed))
        for number in range(100):
            for answer in ("Yes", "No"):
                image = replace(IMAGE, image_id=f"{number}.jpg")
                pool.add(replace(draft("presence.binary", answer, object="car"), metadata=image))
        assert max(len(group) for group in pool._groups.values()) == 10
        taken.update("early" if int(d.image_id.removesuffix(".jpg")) < 50 else "late" for d in pool.choose())
    assert taken.total() == 200 * 10 and 0.45 < taken["early"] / taken.total() < 0.55
