"""Metadata of rendered scenes -> balanced train, validation and test questions, split by place, and their card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from urbanvlm.dataset.balance import balanced, label_counts
from urbanvlm.dataset.questions import Draft, drafts
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.experiment import Scenes
from urbanvlm.records import Example, Metadata, read_jsonl, write_atomic, write_jsonl

SPLITS = ("train", "val", "test")
MIN_PLACES = 2
"""places a split needs: an interval clustered by place says nothing about one place"""
UNEVEN_SHARE = 0.55
"""the card names a subtype whose most frequent label has more than this share"""


def split_sizes(scenes: Scenes) -> dict[str, int]:
    """Places per split. Raises UserError if one has fewer than two."""
    sizes = {"val": round(scenes.places * scenes.validation_share), "test": round(scenes.places * scenes.test_share)}
    sizes = {"train": scenes.places - sum(sizes.values()), **sizes}
    for split, size in sizes.items():
        if size < MIN_PLACES:
            raise UserError(
                f"data.scenes.places: {scenes.places}",
                f"leaves the {split} split {size} place{'' if size == 1 else 's'}, and a split needs {MIN_PLACES}",
                "raise places, or change validation_share and test_share",
            )
    return sizes


def split_places(places: Iterable[str], sizes: Mapping[str, int], seed: int) -> dict[str, str]:
    """place -> split, at random from the seed. All images of a place are in one split."""
    shuffled = sorted(places)
    Random(f"{seed}/places").shuffle(shuffled)  # noqa: S311
    names = [split for split in reversed(SPLITS) for _ in range(sizes[split])]
    return dict(zip(shuffled, names, strict=True))


def build_dataset(scenes: Scenes, seed: int, folder: Path, chain_of_thought: bool) -> None:
    """Write <folder>/{train,val,test}.jsonl and card.md from <folder>/metadata.jsonl; the same bytes every time.

    Raises UserError if there are too few places, or a split gets no question at all.
    """
    records = [Metadata.from_json(row) for _, row in read_jsonl(folder / "metadata.jsonl")]
    sizes = split_sizes(scenes)
    split_of = split_places({record.place for record in records}, sizes, seed)
    asked = scenes.subtypes or tuple(name for name, subtype in SUBTYPES.items() if subtype.generates)
    subtypes = tuple(dict.fromkeys(asked))
    pools: defaultdict[tuple[str, str], list[Draft]] = defaultdict(list)
    for record in records:
        for draft in drafts(record, subtypes, seed):
            pools[split_of[record.place], draft.subtype].append(draft)
    chosen: dict[str, list[Example]] = {}  # all of it before the first file: an error leaves nothing half-written
    for split in SPLITS:
        limit = max(2, round(scenes.examples_per_subtype * sizes[split] / sizes["train"]))
        kept = [d for name in subtypes for d in balanced(pools[split, name], limit, f"{seed}/{split}/{name}")]
        if not kept:
            raise UserError(f"data.scenes.places: {scenes.places}", f"gives the {split} split no question", "raise it")
        Random(f"{seed}/{split}/order").shuffle(kept)  # noqa: S311
        chosen[split] = _examples(kept, chain_of_thought)
    for split, examples in chosen.items():
        write_jsonl(folder / f"{split}.jsonl", (example.to_json() for example in examples))
    write_atomic(folder / "card.md", card(chosen, sizes, subtypes))


def _examples(kept: Sequence[Draft], chain_of_thought: bool) -> list[Example]:
    numbers: defaultdict[str, int] = defaultdict(int)
    examples = []
    for draft in kept:
        examples.append(
            Example(
                id=f"{draft.image_id}#{numbers[draft.image_id]}",
                image_id=draft.image_id,
                place=draft.place,
                question=draft.question,
                answer=draft.answer,
                qtype=SUBTYPES[draft.subtype].qtype,
                subtype=draft.subtype,
                cot_answer=draft.cot_answer if chain_of_thought else None,
                extra=draft.about,
            )
        )
        numbers[draft.image_id] += 1
    return examples


def card(chosen: Mapping[str, Sequence[Example]], sizes: Mapping[str, int], subtypes: Sequence[str]) -> str:
    """Markdown: what the dataset holds, how even its labels are, and where they could not be made even."""
    lines = ["# Dataset card", "", "| split | places | images | questions |", "|---|---|---|---|"]
    for split, examples in chosen.items():
        images = len({example.image_id for example in examples})
        lines.append(f"| {split} | {sizes[split]} | {images} | {len(examples)} |")
    lines += ["", "No place is in two splits.", "", "## Labels", ""]
    lines += ["| subtype | split | questions | most frequent label | labels |", "|---|---|---|---|---|"]
    uneven = []
    for name in subtypes:
        of_subtype = {split: [e for e in examples if e.subtype == name] for split, examples in chosen.items()}
        asked = {thing for examples in of_subtype.values() for thing in _things(examples)}
        for split, examples in of_subtype.items():
            counts = label_counts([example.answer for example in examples], SUBTYPES[name])
            share = max(counts.values()) / len(examples) if examples else 0.0
            words = ", ".join(f"{label} {count}" for label, count in sorted(counts.items()))
            lines.append(f"| {name} | {split} | {len(examples)} | {share:.0%} | {words} |")
            uneven += [f"{name}, {split}: {why}" for why in _shortcomings(examples, share, asked)]
    lines += ["", "## Where labels are not even", ""]
    lines += [f"- {line}" for line in uneven] or ["Nowhere: no label is more than 55 % of its subtype in any split."]
    return "\n".join(lines) + "\n"


def _things(examples: Iterable[Example]) -> set[str]:
    """Objects and factors that the examples ask about."""
    return {thing for example in examples for thing in example.extra.values()}


def _shortcomings(examples: Sequence[Example], largest_share: float, asked: set[str]) -> Iterator[str]:
    """Of one subtype in one split; `asked`: what the subtype asks about in any split."""
    if not examples:
        yield "no question, because these places show only one answer to it"
        return
    if largest_share > UNEVEN_SHARE:
        yield f"{largest_share:.0%} have one label, because these places show hardly any other"
    if missing := sorted(asked - _things(examples)):
        yield f"nothing about {', '.join(missing)}, of which these places do not show every answer"
