"""Metadata -> balanced train, validation and test questions, split by place, and their card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from urbanvlm.dataset.balance import Pool, Thing, thing_of
from urbanvlm.dataset.card import card
from urbanvlm.dataset.rules import drafts
from urbanvlm.dataset.rules.rule import Draft
from urbanvlm.dataset.taxonomy import OBJECTS, SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.experiment import DEFAULT_THRESHOLDS, Data, Thresholds
from urbanvlm.records import Example, Metadata, read_jsonl, write_atomic, write_jsonl

SPLITS = ("train", "val", "test")
MIN_PLACES = 2
"""places a split needs: an interval clustered by place says nothing about one place"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be asked about a set of images."""

    subtypes: tuple[str, ...] = tuple(SUBTYPES)
    per_subtype: int = 400
    """most questions of one subtype in the training split; the other splits in proportion to their places"""
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    seed: int = 0
    chain_of_thought: bool = False
    objects: tuple[str, ...] = OBJECTS
    """the countable classes that the metadata knows"""
    weights: Mapping[str, float] = field(default_factory=dict)
    """subtype -> factor of per_subtype, 1 where it is not named"""


def split_sizes(
    places: int,
    validation_share: float,
    test_share: float,
    where: str,
    next_step: str = "raise places, or change validation_share and test_share",
) -> dict[str, int]:
    """Places per split. Raises UserError if one has fewer than two."""
    sizes = {"val": round(places * validation_share), "test": round(places * test_share)}
    sizes = {"train": places - sum(sizes.values()), **sizes}
    for split, size in sizes.items():
        if size < MIN_PLACES:
            raise UserError(
                f"{where}: {places}",
                f"leaves the {split} split {size} place{'' if size == 1 else 's'}, and a split needs {MIN_PLACES}",
                next_step,
            )
    return sizes


def split_places(places: Iterable[str], sizes: Mapping[str, int], seed: int) -> dict[str, str]:
    """place -> split, at random from the seed. All images of a place are in one split."""
    shuffled = sorted(places)
    Random(f"{seed}/places").shuffle(shuffled)  # noqa: S311
    names = [split for split in reversed(SPLITS) for _ in range(sizes.get(split, 0))]
    return dict(zip(shuffled, names, strict=True))


def build_dataset(data: Data, seed: int, folder: Path) -> None:
    """Write <folder>/{train,val,test}.jsonl and card.md from <folder>/metadata.jsonl; the same bytes every time.

    Raises UserError if there are too few places, or a split gets no question at all.
    """
    scenes = data.scenes
    assert scenes is not None
    records = [Metadata.from_json(row) for _, row in read_jsonl(folder / "metadata.jsonl")]
    sizes = split_sizes(scenes.places, scenes.validation_share, scenes.test_share, "data.scenes.places")
    wish = Wish(
        subtypes=tuple(dict.fromkeys(scenes.subtypes or SUBTYPES)),
        per_subtype=scenes.examples_per_subtype,
        thresholds=data.thresholds,
        seed=seed,
        chain_of_thought=data.chain_of_thought,
        weights=scenes.weights,
    )
    write_dataset(records, sizes, wish, folder, f"data.scenes.places: {scenes.places}")


def write_dataset(
    records: Sequence[Metadata],
    sizes: Mapping[str, int],
    wish: Wish,
    folder: Path,
    where: str,
    remarks: Sequence[str] = (),
) -> dict[str, int]:
    """Ask `wish` of the records and write <folder>/<split>.jsonl, then card.md; split -> number of questions.

    `where` and `remarks`: the source for error messages, and what the card is to say about it. Nothing is written
    before everything is chosen. Raises UserError if a split gets no question.
    """
    pools = _pools(records, sizes, wish)
    chosen: dict[str, list[Example]] = {}
    for split in sizes:
        kept = [draft for name in wish.subtypes for draft in pools[split, name].choose()]
        if not kept:
            raise UserError(
                where, f"gives the {split} split no question", "raise the number of places, or ask for other subtypes"
            )
        _check_rationales(kept)
        Random(f"{wish.seed}/{split}/order").shuffle(kept)  # noqa: S311
        chosen[split] = _examples(kept, wish.chain_of_thought)
    text = card(chosen, sizes, wish.subtypes, records, {key: pool.labels for key, pool in pools.items()}, remarks)
    for split, examples in chosen.items():
        write_jsonl(folder / f"{split}.jsonl", (example.to_json() for example in examples))
    write_atomic(folder / "card.md", text)
    return {split: len(examples) for split, examples in chosen.items()}


def _pools(records: Sequence[Metadata], sizes: Mapping[str, int], wish: Wish) -> dict[tuple[str, str], Pool]:
    """(split, subtype) -> all that can be asked."""
    pools = {}
    for split, size in sizes.items():
        most = wish.per_subtype * size / sizes.get("train", size)
        for name in wish.subtypes:
            limit = max(2, round(most * wish.weights.get(name, 1)))
            pools[split, name] = Pool(name, limit, f"{wish.seed}/{split}/{name}")
    split_of = split_places({record.place for record in records}, sizes, wish.seed)
    for record in records:
        split = split_of[record.place]
        for draft in drafts(record, wish.subtypes, wish.seed, wish.thresholds, wish.objects):
            pools[split, draft.subtype].add(draft)
    return pools


def _check_rationales(kept: Iterable[Draft]) -> None:
    """What is seen decides the answer. Raises ValueError where it leads to two, which is a bug of a rule."""
    answers: dict[tuple[str, Thing, str], str] = {}
    for draft in kept:
        key = (draft.subtype, thing_of(draft), draft.rationale)
        if answers.setdefault(key, draft.answer) != draft.answer:
            raise ValueError(f"{draft.subtype}: one rationale, two answers: {draft.cot_answer!r}, {answers[key]!r}")


def _examples(kept: Sequence[Draft], chain_of_thought: bool) -> list[Example]:
    numbers: defaultdict[str, int] = defaultdict(int)
    examples = []
    for draft in kept:
        rationale = draft.cot_answer  # made, and hence checked, even where nobody wants it
        examples.append(
            Example(
                id=f"{draft.image_id}#{numbers[draft.image_id]}",
                image_id=draft.image_id,
                place=draft.place,
                question=draft.question,
                answer=draft.answer,
                qtype=SUBTYPES[draft.subtype].qtype,
                subtype=draft.subtype,
                cot_answer=rationale if chain_of_thought else None,
                extra=draft.about,
            )
        )
        numbers[draft.image_id] += 1
    return examples
