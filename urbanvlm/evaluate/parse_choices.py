"""Which label or class a cleaned text settles on.

Each reader returns the set of values that the text claims: one is an answer, none says nothing, more contradict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from urbanvlm.evaluate.parse_presence import (
    NEGATORS,
    Claims,
    denied_classes,
    denies_presence,
    existence,
    mark_determiners,
    negated,
)
from urbanvlm.evaluate.parse_question import Question
from urbanvlm.evaluate.parse_statements import PEOPLE_AND_CARS, compares, distance_relation, larger_of
from urbanvlm.evaluate.parse_text import DETERMINER_NO, clauses, sentences, tokens_of, without_ignorance
from urbanvlm.evaluate.parse_yes_no import yes_no_claims
from urbanvlm.evaluate.vocabulary import Mention, class_mentions, own_mentions, word_set

# ---- labels ---------------------------------------------------------------------------------------------------------

_DEPTH_WORDS = {
    **dict.fromkeys(("low", "shallow"), "low"),
    **dict.fromkeys(("moderate", "medium", "intermediate"), "moderate"),
    **dict.fromkeys(("high", "deep"), "high"),
}
_DEPTH_NOUNS = word_set("depth range complexity variation")
_OTHER_QUALITIES = word_set(
    "rise light lighting traffic contrast quality resolution angle visibility density speed number amount blue"
)
"""What makes `high` or `deep` a word about something else than depth."""
_EVEN = "evenly spread"
_MIDDLE = word_set("middle center centre")
_SPREAD = word_set("evenly even equally balanced uniformly throughout")
_SIDE_WORDS = {
    **dict.fromkeys(("left", "lefthand"), "left side"),
    **dict.fromkeys(("right", "righthand"), "right side"),
    **dict.fromkeys(_SPREAD | _MIDDLE | {"both"}, _EVEN),
}
_LIST_GAP = word_set(", or and a an the / | side spread ( on either")
_OR = word_set("or / |")
_NEGATES_NEXT = word_set("not no never neither nor without except") | {DETERMINER_NO}
_NEGATION_ENDS = word_set(", . ; : but") | {"\n"}


def depth_claims(text: str) -> Claims:
    """low, moderate, high; a negated label (`not high`), or one of another thing (`high buildings`), is no claim."""
    tokens = mark_determiners(tokens_of(without_ignorance(text)))
    nouns = {mention.start for mention in class_mentions(tokens)}
    mentions = [
        mention
        for mention in _word_mentions(tokens, _DEPTH_WORDS)
        if mention.end not in nouns
        and not _of_another_thing(tokens[mention.end : mention.end + 2])
        and not _of_a_class(tokens, mention.start)
    ]
    return _values(_before(tokens, _affirmed(tokens, _without_options(tokens, mentions)), "than"))


_CLAUSE_WITHIN = 20
"""tokens"""


def _of_a_class(tokens: Sequence[str], index: int) -> bool:
    """`the buildings are high`, in a clause that does not speak of depth."""
    first = max(0, index - _CLAUSE_WITHIN)
    start = max((i + 1 for i in range(first, index) if tokens[i] in _NEGATION_ENDS), default=first)
    return bool(class_mentions(tokens[start:index])) and _DEPTH_NOUNS.isdisjoint(tokens[start:index])


def _of_another_thing(following: Sequence[str]) -> bool:
    """`high-rise`, `deep blue`; but `moderate-high` names two labels."""
    compound = following[:1] == ["-"] and not (_DEPTH_WORDS.keys() | _DEPTH_NOUNS) & set(following[1:])
    return compound or bool(_OTHER_QUALITIES.intersection(following[:1]))


_BESIDE_A_THING = re.compile(
    r"\b((?:left|right)(?: side)? of (?:the |an? )?"
    r"(?!(?:the|an?|image|picture|photo|scene|frame|view|screen|road|street|cent(?:er|re)|middle)\b)[a-z]+(?: [a-z]+)?)"
    r",? (?:that|which|on|in|to|at)\b[^.;!\n]*"
)


def side_claims(text: str) -> Claims:
    """left side, right side, even; both sides at once, or a word for the middle, are even.

    Where something is beside another thing (`left of the bus on the right`), that thing's own side is not read.
    """
    tokens = mark_determiners(tokens_of(_BESIDE_A_THING.sub(r"\1", without_ignorance(text))))
    mentions = [mention for mention in _word_mentions(tokens, _SIDE_WORDS) if _is_side(tokens, mention.start)]
    mentions = _with_something(tokens, _affirmed(tokens, _without_options(tokens, mentions)))
    values = _values(_before(tokens, mentions, "than"))
    sides = values - {_EVEN}
    if len(sides) == 2 and (values != sides or _joined_sides(tokens)):
        return frozenset({_EVEN})
    return values


_HARDLY_ANY = re.compile(
    rf"\b(?:{DETERMINER_NO}|no|none|nothing|zero|0(?!\.)|without|lacks?|fewer|fewest|less|(?<!at )least|(?<!\ba )few"
    r"|empty|hardly|barely|scarcely|not (?:see|have|contain|show|find|many|much|any))\b|\bonly a few\b"
)


def _with_something(tokens: Sequence[str], mentions: Sequence[Mention]) -> list[Mention]:
    """The sides less those of a clause that says how little is there: `no cars on the left`, `the left is empty`.

    What is spread evenly is not a side.
    """
    kept: list[Mention] = []
    for clause, inside in _by_clause(tokens, mentions):
        little = _HARDLY_ANY.search(" ".join(clause))
        kept += [m for m in inside if not little or tokens[m.start] in _SPREAD]
    return kept


def _is_side(tokens: Sequence[str], index: int) -> bool:
    """Not the words of `that is right`, `right in front`, `both cars`, `left of the center`."""
    token = tokens[index]
    before = tokens[max(0, index - 2) : index]
    following = tokens[index + 1] if index + 1 < len(tokens) else ""
    if token == "both":
        return following in {"", "side", "sides", "left", "right", "halves", "the", "of"} or not following.isalpha()
    if token == "right":
        exclaims = before in (["that", "is"], ["you", "are"]) or before[-1:] == ["all"]
        return not exclaims and ("the" in before or following not in {"now", "in", "here", "there", "next", "behind"})
    if token in _MIDDLE:
        return "of" not in before
    return True


_BOTH_SIDES = re.compile(r"\b(left|right)(?: side)? (?:and|to)(?: on)?(?: the)? (?!\1)(?:left|right)\b")


def _joined_sides(tokens: Sequence[str]) -> bool:
    return _BOTH_SIDES.search(" ".join(tokens)) is not None


# ---- classes --------------------------------------------------------------------------------------------------------


def class_claims(text: str, subtype: str, question: Question) -> Claims:
    """The class that a text settles on, by what the subtype asks of it."""
    tokens = mark_determiners(tokens_of(without_ignorance(text)))
    if subtype == "negation.exclusion_choice":
        return _absent_class(tokens, question)
    if subtype == "multi_hop.which_is_more":
        return _more_of_two(tokens)
    if denies_presence(text, question):
        return frozenset()  # `there are no animals on the road, only a car`: what was asked about is not there
    farther = _farther_classes(tokens) if subtype == "depth.closest_object" else frozenset()
    mentions = _not_denied(tokens, _affirmed(tokens, _without_options(tokens, class_mentions(tokens))))
    mentions = own_mentions(tokens, mentions)
    if subtype == "depth.closest_object" and _NOT_CLOSEST.search(" ".join(tokens)):
        return _superlative(tokens, mentions)
    values = _values(mentions) - farther
    if len(values) > 1 and "or" not in question.tokens and len(values - question.classes) == 1:
        return values - question.classes  # `the bench is next to the man`, after what is next to the man
    return _superlative(tokens, mentions) or values if len(values) > 1 else values


def _word_mentions(tokens: Sequence[str], words: Mapping[str, str]) -> list[Mention]:
    return [Mention(i, i + 1, words[token]) for i, token in enumerate(tokens) if token in words]


def _values(mentions: Sequence[Mention]) -> Claims:
    return frozenset(mention.value for mention in mentions)


def _without_options(tokens: Sequence[str], mentions: Sequence[Mention]) -> list[Mention]:
    """The mentions less those in a list of options: `a, b or c`, `a/b`, or three and more between commas."""
    kept: list[Mention] = []
    row: list[Mention] = []
    different: set[str] = set()
    joints: set[str] = set()
    for mention in [*mentions, None]:
        is_list = (len(different) > 1 and bool(joints & _OR)) or (len(different) > 2 and "," in joints)
        gap = tokens[row[-1].end : mention.start] if row and mention else []
        chosen = is_list and mention is not None and mention.value in different  # `a, b or c, b`
        if chosen or not gap or not _LIST_GAP.issuperset(gap):
            kept += [] if is_list else row
            row, different, joints, gap = [], set(), set(), []
        if mention is not None:
            joints.update(gap)
            different.add(mention.value)
            row.append(mention)
    return kept


def _affirmed(tokens: Sequence[str], mentions: Sequence[Mention]) -> list[Mention]:
    """The mentions without a negation shortly before them."""

    def negated(mention: Mention) -> bool:
        before = tokens[max(0, mention.start - 3) : mention.start]
        breaks = [index for index, token in enumerate(before) if token in _NEGATION_ENDS]
        near = before[breaks[-1] + 1 :] if breaks else before
        replaced = [token for token in near if token not in {"the", "a", "an"}][-2:]
        return bool(_NEGATES_NEXT.intersection(near)) or replaced == ["instead", "of"]

    return [mention for mention in mentions if not negated(mention)]


def _not_denied(tokens: Sequence[str], mentions: Sequence[Mention]) -> list[Mention]:
    """The mentions less the car of `the car is not the closest`."""
    return [mention for mention in mentions if not _IS_NOT.match(" ".join(tokens[mention.end : mention.end + 2]))]


_IS_NOT = re.compile(r"(?:is|are|was|were) not\b")


def _before(tokens: Sequence[str], mentions: Sequence[Mention], word: str) -> list[Mention]:
    """The mentions that no `word` precedes in their sentence."""
    kept, blocked, position = [], False, 0
    for mention in mentions:
        for token in tokens[position : mention.start]:
            blocked = token == word or (blocked and token not in {".", ";", "!", "\n"})
        position = mention.start
        if not blocked:
            kept.append(mention)
    return kept


_CLAUSE_ENDS = word_set(". , ; : ! ? ( ) but while whereas though although however") | {"\n"}


def _by_clause(tokens: Sequence[str], mentions: Sequence[Mention]) -> Iterator[tuple[list[str], list[Mention]]]:
    """Each clause with the mentions that begin in it."""
    by_start = {mention.start: mention for mention in mentions}
    start = 0
    for index, token in enumerate([*tokens, "."]):
        if token in _CLAUSE_ENDS:
            yield list(tokens[start:index]), [by_start[i] for i in range(start, index) if i in by_start]
            start = index + 1


_NOT_CLOSEST = re.compile(
    r"\b(?:farthest|furthest|most distant|most remote|second|2nd|third|next closest|least close)\b"
)
_SUPERLATIVES = word_set("closest nearest top topmost uppermost highest")


def _superlative(tokens: Sequence[str], mentions: Sequence[Mention]) -> Claims:
    """The class of the one clause that says `closest` or `top`; none where that is not one class."""
    found: set[str] = set()
    for clause, inside in _by_clause(tokens, mentions):
        if _SUPERLATIVES.intersection(clause) and not _NOT_CLOSEST.search(" ".join(clause)):
            found |= _values(inside)
    return frozenset(found) if len(found) == 1 else frozenset()


def _farther_classes(tokens: list[str]) -> Claims:
    """The car of `the car is farther away than the bus`."""
    relations = (
        distance_relation(clause)
        for sentence in sentences(tokens)
        for clause in clauses(sentence)
        if {"farther", "further", "behind"}.intersection(clause)
    )
    return frozenset(relation.second for relation in relations if relation and relation.second and not relation.denied)


def _absent_class(tokens: list[str], question: Question) -> Claims:
    """What a negative clause names; else the one class named, where nothing says that it is there."""
    denied: set[str] = set()
    others: set[str] = set()
    for sentence in sentences(tokens):
        for clause in _class_clauses(sentence):
            named = _values(_without_options(clause, class_mentions(clause)))
            said = existence(clause)
            if said == "no" or (negated(clause) and _IS_NOT.search(" ".join(clause))):
                denied |= named & denied_classes(clause)
            elif said is None and not NEGATORS.intersection(clause) and not _IS_HERE.search(" ".join(clause)):
                others |= named & _values(own_mentions(clause, class_mentions(clause)))
    found = frozenset(denied or others)
    if len(found) < 2:
        return found
    return found & question.classes or found


_IS_HERE = re.compile(
    r"\b(?:is|are) (?:\w+ )?(?:in|on|part of) (?:the|this) (?:picture|image|photo|scene|street|road|view)\b"
)


def _class_clauses(sentence: list[str]) -> list[list[str]]:
    """Clauses, with a list of options (`a tree, a car, or a bench`) taken out before its commas cut it."""
    mentions = class_mentions(sentence)
    kept = {mention.start for mention in _without_options(sentence, mentions)}
    options = {index for m in mentions if m.start not in kept for index in range(m.start, m.end)}
    return clauses([token for index, token in enumerate(sentence) if index not in options])


def _more_of_two(tokens: list[str]) -> Claims:
    """`more people than cars`, `fewer cars than people`, `people, not cars`: the people."""
    comparing = [part for sentence in sentences(tokens) for part in clauses(sentence) if compares(part)]
    if comparing:
        return frozenset(name for part in comparing if (name := larger_of(part, PEOPLE_AND_CARS)))
    mentions = [mention for mention in class_mentions(tokens) if mention.value in PEOPLE_AND_CARS]
    return _values(_affirmed(tokens, _without_options(tokens, mentions)))


CHOICE_READERS: Mapping[str, Callable[[str, str, Question], Claims]] = {
    "yes_no": yes_no_claims,
    "depth_label": lambda text, subtype, question: depth_claims(text),
    "side_label": lambda text, subtype, question: side_claims(text),
    "class": class_claims,
}
"""answer kind -> reader of (cleaned text, subtype's name, question)"""
