"""Which of the possible questions are asked, so that guessing without looking does not pay. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from random import Random
from typing import TypeVar

from urbanvlm.dataset.questions import Draft
from urbanvlm.dataset.taxonomy import SUBTYPES, Subtype

Key = TypeVar("Key", bound=Hashable)
SHARE_BINS = 20
"""bins of 0.05 over which the shares of viewfactor.scalar are spread"""


def balanced(drafts: Sequence[Draft], limit: int, seed: str) -> list[Draft]:
    """At most `limit` drafts of one subtype, chosen at random so that labels are even.

    Yes/no: as many Yes as No for every object or factor, hence in all, so that its name gives nothing away.
    Classes and labels: the scarcest first, and none is more than half. Numbers: spread over their values or bins.
    """
    if not drafts:
        return []
    subtype = SUBTYPES[drafts[0].subtype]
    chance = Random(seed)  # noqa: S311
    groups: defaultdict[Hashable, list[Draft]] = defaultdict(list)
    for draft in drafts:
        groups[_group(draft, subtype)].append(draft)
    available = {key: len(group) for key, group in groups.items()}
    quotas = _yes_no_quotas(available, limit) if subtype.answer_kind == "yes_no" else _label_quotas(available, limit)
    return [draft for key, group in groups.items() for draft in chance.sample(group, quotas[key])]


def _group(draft: Draft, subtype: Subtype) -> Hashable:
    if subtype.answer_kind == "yes_no":
        return (tuple(draft.about.values()), draft.answer)
    if subtype.answer_kind == "share":
        return int(float(draft.answer) * SHARE_BINS)
    return draft.answer


def _yes_no_quotas(available: Mapping[Hashable, int], limit: int) -> dict[Hashable, int]:
    """Keys are (about, answer). Pairs of one Yes and one No about the same thing, spread over the things."""
    things = {key[0] for key in available}  # type: ignore[index]
    pairs = {about: min(available.get((about, "Yes"), 0), available.get((about, "No"), 0)) for about in things}
    chosen = spread(pairs, limit // 2)
    return {key: chosen[key[0]] for key in available}  # type: ignore[index]


def _label_quotas(available: Mapping[Hashable, int], limit: int) -> dict[Hashable, int]:
    quotas = spread(available, limit)
    largest = max(quotas, key=lambda key: quotas[key])
    others = sum(quotas.values()) - quotas[largest]
    # A split whose only label is this one keeps it; the card and the blind baseline will say so.
    return quotas | {largest: min(quotas[largest], others) if others else quotas[largest]}


def spread(available: Mapping[Key, int], total: int) -> dict[Key, int]:
    """Share out `total` as evenly as what is available allows: the scarcest give all they have."""
    quotas: dict[Key, int] = {}
    left = total
    # str: keys of one call are of one shape, and need an order that does not depend on how they came.
    for position, key in enumerate(sorted(available, key=lambda key: (available[key], str(key)))):
        quotas[key] = min(available[key], left // (len(available) - position))
        left -= quotas[key]
    return quotas


def label_counts(answers: Sequence[str], subtype: Subtype) -> Counter[str]:
    """How often each label occurs; shares in tenths, so that a table of them can be read."""
    if subtype.answer_kind == "share":
        return Counter(f"{min(int(float(answer) * 10), 9) / 10:.1f}–" for answer in answers)
    return Counter(answers)
