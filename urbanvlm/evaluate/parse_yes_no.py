"""Which yes or no a cleaned text settles on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from urbanvlm.evaluate.parse_presence import (
    NEGATORS,
    Claims,
    Clause,
    mark_determiners,
    named_classes,
    presence,
    things_asked,
)
from urbanvlm.evaluate.parse_question import Question
from urbanvlm.evaluate.parse_statements import (
    PEOPLE_AND_CARS,
    PREDICATES,
    WRONG_TO_SAY,
    certain_sentences,
    larger_of,
    relation_claim,
    relevant,
    restated,
)
from urbanvlm.evaluate.parse_text import clauses, tokens_of, without_ignorance
from urbanvlm.evaluate.vocabulary import class_mentions, content_words, word_set

_OPPOSITE = {"yes": "no", "no": "yes"}

_PLACES: Mapping[str, Claims] = {
    "depth.foreground_presence": word_set("foreground near nearby close front"),
    "depth.background_presence": word_set("background far distance distant behind"),
}
"""Subtypes that ask for something in a certain place -> words for it."""
_INVERTED = frozenset({"negation.absence"})
"""Existential subtypes that ask for absence: `there is no bus` answers yes, `there is a bus` answers no."""
_EXISTENTIAL = frozenset({"presence.binary", "object.cooccurrence", *_PLACES}) | _INVERTED
"""Subtypes that `there is …` and `no … is visible` answer."""
RELATIONAL = frozenset({"spatial.relation", "negation.spatial_refute", "occlusion.binary"})
"""Subtypes that ask which of two things is nearer, or hides the other: the order in the question's wording matters."""
_ASKED_IN_THE_NEGATIVE = WRONG_TO_SAY | _INVERTED | {"negation.spatial_refute"}
"""Subtypes where `it is`, or `that is correct`, may agree with either side of the question."""
_CONTRADICTED = frozenset({"depth.range"}) | _EXISTENTIAL
"""Subtypes where a statement is as good an answer as yes or no, so that the two must agree."""

_YES = word_set("yes yep yeah yup")
_NO = word_set("no nope nah")
_EITHER = re.compile(r"\b(?:either )?(?:yes|no|true|false) ?(?:or|/|\|) ?(?:yes|no|true|false)\b")
_NEITHER = re.compile(r"\bneither\b[^.;!?\n]{0,40}\b(?:yes\b[^.;!?\n]{0,40}\bno|no\b[^.;!?\n]{0,40}\byes)\b")
_NUMBERED = re.compile(
    r"\b(a|the|this|that|bus|coach|tram|train|truck|car|line|route|platform|house|building) no\. ?(?=\d)"
)
"""`bus No. 5`"""
_SOFT_NO = re.compile(
    r"\b(?:(?:definitely|absolutely|certainly|probably|likely|surely|clearly|maybe|perhaps|possibly|apparently"
    r"|of course|i (?:think|guess|believe)) not|not (?:really|at all|exactly)|i do not (?:think|believe) so)"
    r"(?= ?[.,;!\n]|$)"
)
_AGREES = re.compile(r"(?:definitely|absolutely|certainly|of course|indeed|i (?:think|believe|guess) so)")
_AGREES_TRUE = re.compile(
    r"(?:(?:that|this|it) is )?(not )?(true|correct|affirmative|false|incorrect|negative)|that is (not )?(right)"
)
_LONGEST_AGREEMENT = 8
_ELLIPTIC = re.compile(r"(?:it|they) (?:is|are|does|do|was|were|has|have|would|will|can)( not)?")


def yes_no_claims(text: str, subtype: str, question: Question) -> Claims:
    """What a text answers to a yes/no question of the subtype.

    An explicit yes or no outranks statements, unless the statement in its own sentence contradicts it.
    """
    text = _NUMBERED.sub(r"\1 ", text)
    text = _SOFT_NO.sub(" no ", _EITHER.sub(" ", _NEITHER.sub(" ", without_ignorance(text))))
    tokens = mark_determiners(tokens_of(text))
    if tokens in (["y"], ["n"]):
        return frozenset({"yes" if tokens == ["y"] else "no"})
    explicit = frozenset(_explicit(tokens))
    if explicit and subtype not in _CONTRADICTED:
        return explicit
    beside: set[str] = set()
    statements: list[_Statement] = []
    for sentence in certain_sentences(tokens):
        here = _statements(sentence, subtype, question)
        statements += here
        said = _sum(here, subtype, question)
        if len(_explicit(sentence)) == len(said) == 1:
            beside |= said
    if not explicit:
        return _sum(statements, subtype, question)
    # "No, there is only a truck" denies a bus: without the question, an affirmation may be about another thing.
    excused = {"yes"} if beside and subtype in _EXISTENTIAL - _INVERTED and not question.classes else set()
    return explicit | (beside - excused)


def _explicit(tokens: Sequence[str]) -> set[str]:
    found = set()
    for index, token in enumerate(tokens):
        if token in _YES | _NO and tokens[max(0, index - 1) : index] != ["not"]:
            found.add("yes" if token in _YES else "no")
    return found


_LISTING = word_set(
    "the this image picture photo scene shows show contains contain has includes depicts there is are i we you can see "
    "and a an some several many two three four five , -"
)


def _lists_things(sentence: Clause) -> bool:
    """`the picture shows cars, trees and a bus`, and not a word more."""
    named = {index for mention in class_mentions(sentence) for index in range(mention.start, mention.end)}
    return all(token in _LISTING or index in named for index, token in enumerate(sentence))


_Statement = tuple[str, Clause]
"""yes or no, and the clause that says so"""


def _statements(sentence: Clause, subtype: str, question: Question) -> list[_Statement]:
    words = [token for token in sentence if token not in _YES | _NO]
    if subtype in _EXISTENTIAL and _lists_things(words):
        words = ["and" if token == "," else token for token in words]  # one clause
    found = ((_claim(part, subtype, question), part) for part in clauses(words))
    return [(value, part) for value, part in found if value is not None]


def _claim(clause: Clause, subtype: str, question: Question) -> str | None:
    if agreed := _agreement(clause, subtype):
        return agreed
    if subtype in _EXISTENTIAL:
        said = _presence_claim(clause, subtype, question)
        return _OPPOSITE[said] if said and subtype in _INVERTED else said
    if subtype in RELATIONAL:
        return relation_claim(clause, subtype == "occlusion.binary", question) or restated(clause, question)
    if subtype == "multi_hop.count_compare":
        return _count_claim(clause)
    predicate = PREDICATES.get(subtype)
    claim = predicate.claim(clause) if predicate else None
    return claim if claim and relevant(clause, question) else None


def _count_claim(clause: Clause) -> str | None:
    if larger := larger_of(clause, PEOPLE_AND_CARS):
        return "yes" if larger == "person" else "no"
    affirmed = [token for token in clause if token not in NEGATORS]
    denied = len(clause) - len(affirmed) == 1 and larger_of(affirmed, PEOPLE_AND_CARS) == "person"
    return "no" if denied else None


def _agreement(clause: Clause, subtype: str) -> str | None:
    """`definitely`, `that is correct`, `it is not`: agreement with the question as a whole."""
    if len(clause) > _LONGEST_AGREEMENT:
        return None
    words = " ".join(token for token in clause if token.isalpha())
    if _AGREES.fullmatch(words):
        return "yes"
    if subtype in _ASKED_IN_THE_NEGATIVE:
        return None
    if match := _ELLIPTIC.fullmatch(words):
        return "no" if match[1] else "yes"
    if match := _AGREES_TRUE.fullmatch(words):
        negated = match[1] or match[3]
        return "no" if bool(negated) != (match[2] in {"false", "incorrect", "negative"}) else "yes"
    return None


def _presence_claim(clause: Clause, subtype: str, question: Question) -> str | None:
    places = _PLACES.get(subtype, frozenset())
    said = presence(clause, question, places, each=subtype == "object.cooccurrence")
    if said is None or not places or places.intersection(clause):
        return said
    elsewhere = frozenset[str]().union(*_PLACES.values())
    return said if said == "no" and not elsewhere.intersection(clause) else None


def _sum(said: Sequence[_Statement], subtype: str, question: Question) -> Claims:
    if subtype == "object.cooccurrence":
        return _both(said, question)
    return frozenset(value for value, _ in said)


def _both(said: Sequence[_Statement], question: Question) -> Claims:
    """One of two that is absent is enough for a no; a yes needs both, named or spoken of as `both` or `they`."""
    if any(value == "no" for value, _ in said):
        return frozenset({"no"})
    unnamed = [clause for _, clause in said if not named_classes(clause)]
    if any({"both", "they"}.intersection(clause) or _agreement(clause, "object.cooccurrence") for clause in unnamed):
        return frozenset({"yes"})
    seen = {word for _, clause in said for word in content_words(clause)}
    asked = things_asked(question) or frozenset[str]().union(*(named_classes(clause) for _, clause in said))
    return frozenset({"yes"} if len(asked) > 1 and asked <= seen else ())
