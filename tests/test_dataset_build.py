"""The dataset: labels are even where the scenes allow it, places are apart, and the same seed gives the same bytes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from dataset_support import many_metadata, write_metadata
from hypothesis import given
from hypothesis import strategies as st

from urbanvlm.dataset.balance import balanced, spread
from urbanvlm.dataset.build import SPLITS, build_dataset, split_places, split_sizes
from urbanvlm.dataset.questions import RULES, Draft
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.experiment import Scenes
from urbanvlm.records import Example

SCENES = Scenes(places=40, examples_per_subtype=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    write_metadata(folder, many_metadata(SCENES.places))
    build_dataset(SCENES, 3, folder, chain_of_thought=False)
    return folder


@pytest.fixture(scope="module")
def splits(folder: Path) -> dict[str, list[Example]]:
    return {split: read_examples(folder / f"{split}.jsonl") for split in SPLITS}


def kind(example: Example) -> str:
    return SUBTYPES[example.subtype].answer_kind


def draft(subtype: str, answer: str, **about: str) -> Draft:
    return Draft(subtype, "image_1_heading0.jpg", "image_1", "?", answer, "I look.", about)


def test_yes_and_no_are_even_for_every_object_of_every_subtype(splits: dict[str, list[Example]]) -> None:
    counts: defaultdict[tuple[object, ...], Counter[str]] = defaultdict(Counter)
    for split, examples in splits.items():
        for e in examples:
            if kind(e) == "yes_no":
                counts[(split, e.subtype, *e.extra.values())][e.answer] += 1
    assert len(counts) > 60
    assert all(count["Yes"] == count["No"] > 0 for count in counts.values())


def test_no_label_has_more_than_half(splits: dict[str, list[Example]]) -> None:
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for split, examples in splits.items():
        for e in examples:
            counts[split, e.subtype][e.answer] += 1
    assert len(counts) == len(SPLITS) * len(RULES)
    assert all(2 * max(count.values()) <= count.total() for count in counts.values())


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
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_same_seed_gives_the_same_bytes_another_seed_other_places(folder: Path, tmp_path: Path) -> None:
    def build(seed: int) -> dict[str, bytes]:
        write_metadata(tmp_path, many_metadata(SCENES.places))
        build_dataset(SCENES, seed, tmp_path, chain_of_thought=False)
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
    build_dataset(SCENES, 3, tmp_path, chain_of_thought=False)
    assert (tmp_path / "test.jsonl").read_bytes() == (folder / "test.jsonl").read_bytes()


def test_chain_of_thought_changes_nothing_but_adds_the_rationale(
    tmp_path: Path, splits: dict[str, list[Example]]
) -> None:
    write_metadata(tmp_path, many_metadata(SCENES.places))
    build_dataset(SCENES, 3, tmp_path, chain_of_thought=True)
    for split, plain in splits.items():
        rows = [json.loads(line) for line in (tmp_path / f"{split}.jsonl").read_text().splitlines()]
        rationales = [row.pop("cot_answer") for row in rows]
        assert rows == [e.to_json() for e in plain]
        assert all(text.endswith(f"Answer: {row['answer']}") for text, row in zip(rationales, rows, strict=True))


def test_only_the_subtypes_wanted(tmp_path: Path) -> None:
    write_metadata(tmp_path, many_metadata(12))
    build_dataset(
        Scenes(places=12, subtypes=("count", "depth.variation", "count"), validation_share=0.2), 0, tmp_path, False
    )
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
        row = f"| spatial.distribution | {split} | {sides.total()} | 50% | No {sides['No']}, Yes {sides['Yes']} |"
        assert row in card


def test_the_card_says_what_could_not_be_balanced(tmp_path: Path) -> None:
    records = many_metadata(12)
    for record in records:
        for name in ("car", "bus"):
            record.objects.pop(name, None)  # type: ignore[attr-defined]
        if record.place == "image_000000":
            record.objects["bus"] = 1  # type: ignore[index]
    write_metadata(tmp_path, records)
    build_dataset(Scenes(places=12, subtypes=("presence.binary",), validation_share=0.2), 0, tmp_path, False)
    card = (tmp_path / "card.md").read_text()
    asked = {split: {e.extra["object"] for e in read_examples(tmp_path / f"{split}.jsonl")} for split in SPLITS}
    assert not any("car" in names for names in asked.values())
    without = [split for split in SPLITS if f"- presence.binary, {split}: nothing about" in card]
    assert without == [split for split in SPLITS if asked[split] != set.union(*asked.values())]


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
        build_dataset(settings, 0, tmp_path, False)
    assert [p.name for p in tmp_path.iterdir()] == ["metadata.jsonl"]


def test_a_split_without_a_question_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    records = many_metadata(20)
    for record in records:
        record.objects.clear()  # type: ignore[attr-defined]
    write_metadata(tmp_path, records)
    with pytest.raises(UserError, match=r"data\.scenes\.places: 20: gives the train split no question"):
        build_dataset(Scenes(places=20, subtypes=("presence.binary",)), 0, tmp_path, False)
    assert [p.name for p in tmp_path.iterdir()] == ["metadata.jsonl"]


@given(places=st.integers(20, 300), seed=st.integers(0, 5))
def test_splits_cover_the_places_in_the_sizes_promised(places: int, seed: int) -> None:
    sizes = split_sizes(Scenes(places=places))
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


@given(available=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 30), min_size=1), total=st.integers(0, 90))
def test_spread_is_as_even_as_can_be(available: dict[str, int], total: int) -> None:
    quotas = spread(available, total)
    assert sum(quotas.values()) == min(total, sum(available.values()))
    assert all(quotas[key] <= available[key] for key in available)
    top = max(quotas.values())
    assert all(quotas[key] == available[key] or quotas[key] >= top - 1 for key in available)
