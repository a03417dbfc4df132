"""The dataset card: what a dataset holds, how even its labels are, and where they could not be made even, and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from urbanvlm.dataset.balance import Label, Thing, label_counts
from urbanvlm.dataset.rules import RULES
from urbanvlm.dataset.taxonomy import NUMERIC_KINDS, SUBTYPES
from urbanvlm.percent import percent
from urbanvlm.records import Example, Metadata

UNEVEN_SHARE = 0.55
"""the card names a subtype whose most frequent label has more than this share"""
_NAMED = 8
"""things that a line of the card names before it only counts them"""

Chosen = Mapping[str, Sequence[Example]]
"""split -> its examples"""
Possible = Mapping[tuple[str, str], Mapping[Thing, set[Label]]]
"""(split, subtype) -> what could be asked about -> the labels that the images give"""


def card(
    chosen: Chosen,
    places: Mapping[str, int],
    subtypes: Sequence[str],
    records: Sequence[Metadata],
    possible: Possible,
    remarks: Sequence[str] = (),
) -> str:
    """Markdown. `places`: how many a split has; `records`: what was asked about; `remarks`: more about the source."""
    lines = ["# Dataset card", "", "| split | places | images | questions |", "|---|---|---|---|"]
    for split, examples in chosen.items():
        images = len({example.image_id for example in examples})
        lines.append(f"| {split} | {places[split]} | {images} | {len(examples)} |")
    if len(chosen) > 1:
        lines += ["", "No place is in two splits."]
    lines += ["", *(f"- {remark}" for remark in remarks)] if remarks else []
    by_subtype: defaultdict[str, dict[str, list[Example]]] = defaultdict(lambda: {split: [] for split in chosen})
    for split, examples in chosen.items():
        for example in examples:
            by_subtype[example.subtype][split].append(example)
    lines += ["", "## Labels", "", *_labels(by_subtype, subtypes, possible)]
    uneven = [line for name in subtypes for line in _gaps(name, records)]
    uneven += [
        f"{name}, {split}: {line}"
        for name in subtypes
        for split, examples in by_subtype[name].items()
        for line in _uneven(name, examples, possible.get((split, name), {}), _all_things(name, possible))
    ]
    lines += ["", "## Where labels are not even", ""]
    lines += [f"- {line}" for line in uneven] or ["Nowhere: no label is more than 55 % of its subtype in any split."]
    return "\n".join(lines) + "\n"


def _labels(by_subtype: Mapping[str, Chosen], subtypes: Sequence[str], possible: Possible) -> Iterator[str]:
    yield "About: how many of the objects, pairs, threes or factors that could be asked about in any split."
    yield ""
    yield "| subtype | split | questions | about | most frequent label | labels |"
    yield "|---|---|---|---|---|---|"
    for name in subtypes:
        things = len(_all_things(name, possible))
        for split, examples in by_subtype[name].items():
            counts = label_counts([example.answer for example in examples], SUBTYPES[name])
            words = ", ".join(f"{label} {count}" for label, count in sorted(counts.items(), key=_by_value))
            about = f"{len(_things(examples))} of {things}" if things else ""
            yield f"| {name} | {split} | {len(examples)} | {about} | {percent(_largest_share(counts))} | {words} |"


def _by_value(item: tuple[str, int]) -> tuple[float, str]:
    label = item[0].removesuffix("–")
    return (float(label) if label.replace(".", "", 1).isdigit() else 0.0), label


def _largest_share(counts: Counter[str]) -> float:
    return max(counts.values()) / counts.total() if counts else 0.0


def _things(examples: Sequence[Example]) -> set[Thing]:
    return {tuple(map(str, example.extra.values())) for example in examples if example.extra}


def _all_things(name: str, possible: Possible) -> set[Thing]:
    return {thing for (_, subtype), answers in possible.items() if subtype == name for thing in answers if thing}


def _gaps(name: str, records: Sequence[Metadata]) -> Iterator[str]:
    """Which fields of the metadata the rule lacks, and in how many records."""
    lacking = Counter(field for record in records for field in RULES[name].needs if field in record.missing)
    for field, count in lacking.items():
        if count == len(records):
            yield f"{name}: not asked, because {field} is missing in every record"
        else:
            yield f"{name}: not asked about {count} of {len(records)} images, because {field} is missing there"


def _uneven(
    name: str, examples: Sequence[Example], labels: Mapping[Thing, set[Label]], things: set[Thing]
) -> Iterator[str]:
    """What is not as it should be with one subtype in one split.

    `labels`: what these images could be asked about and the labels they give; `things`: what any split could be.
    """
    if not examples:
        yield "no question, because these places do not show two answers to it"
        return
    counts = label_counts([example.answer for example in examples], SUBTYPES[name])
    if SUBTYPES[name].answer_kind not in NUMERIC_KINDS and (share := _largest_share(counts)) > UNEVEN_SHARE:
        yield f"{percent(share)} have one label, because these places show hardly any other"
    not_asked = things - _things(examples)
    full = max(len(of_thing) for of_thing in labels.values()) if SUBTYPES[name].answers else 2
    if one_sided := sorted(thing for thing in not_asked if len(labels.get(thing, ())) < full):
        yield f"nothing about {_named(one_sided)}, of which these places do not show every answer"
    if others := sorted(not_asked.difference(one_sided) if SUBTYPES[name].answer_kind in NUMERIC_KINDS else ()):
        yield f"nothing about {_named(others)}, whose values all lie on one side of the others', or for lack of room"


def _named(things: Sequence[Thing]) -> str:
    words = [" and ".join(thing) for thing in things[:_NAMED]]
    more = len(things) - len(words)
    return ", ".join(words) + (f" and {more} more" if more else "")
