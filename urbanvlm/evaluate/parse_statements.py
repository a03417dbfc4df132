"""What a clause states: that something is nearer, is hidden, is more numerous, or is as asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from urbanvlm.evaluate.parse_presence import (
    BARELY,
    DISPUTES,
    NEGATORS,
    POSSIBLY,
    Claims,
    Clause,
    hedged,
    named_classes,
    negated,
)
from urbanvlm.evaluate.parse_question import Question
from urbanvlm.evaluate.parse_text import sentences
from urbanvlm.evaluate.vocabulary import class_mentions, named, word_set


def relevant(clause: Clause, question: Question) -> bool:
    """Is the clause about classes that were asked, or about none at all?"""
    return not question.classes or named_classes(clause) - {"road", "sidewalk"} <= question.classes


# ---- nearer, hidden, more -------------------------------------------------------------------------------------------

PEOPLE_AND_CARS = ("person", "car")
_NEARER = word_set("front closer nearer ahead before")
_FARTHER = word_set("behind farther further beyond")
_HIDDEN = word_set("hidden occluded obscured blocked covered concealed obstructed overlapped")
_HIDES = word_set("hides hide occludes occlude obscures obscure blocks block covers cover conceals conceal overlaps")
_UNHIDDEN = word_set("unobstructed unoccluded unobscured fully completely entirely")
_MORE = word_set("more greater larger higher bigger")
_FEWER = word_set("fewer less smaller lower")
_OUTNUMBERS = word_set("outnumber outnumbers exceed exceeds")
_ASKS = word_set("is are was were does do did can a an the there you see any image picture photo scene in of to this")
_MAY_STAND_BETWEEN = NEGATORS | _ASKS | word_set("placed located positioned parked directly right clearly")


@dataclass(frozen=True, slots=True)
class Relation:
    """`first` is nearer than, or hidden behind, `second`; None where the clause leaves that one unnamed."""

    first: str | None
    second: str | None
    denied: bool


def distance_relation(clause: Clause) -> Relation | None:
    """Which of two is nearer: `the car is in front of the bus`, `the bus is behind the car`, `the car is closer`."""
    return _relation(clause, straight=_NEARER, turned=_FARTHER)


def hiding_relation(clause: Clause) -> Relation | None:
    """Which of two is hidden: `the car is hidden by the bus`, `the bus hides the car`, `the car is fully visible`."""
    if "visible" in clause and _UNHIDDEN.intersection(clause):
        mentions = class_mentions(clause)
        return Relation(mentions[0].value, None, denied=not negated(clause)) if mentions else None
    return _relation(clause, straight=_HIDDEN, turned=_HIDES)


def _relation(clause: Clause, straight: Claims, turned: Claims) -> Relation | None:
    at = next((index for index, token in enumerate(clause) if token in straight or token in turned), None)
    mentions = class_mentions(clause)
    if at is None or not mentions or hedged(clause):
        return None
    subject = next((mention.value for mention in reversed(mentions) if mention.end <= at), None)
    thing = next((mention.value for mention in mentions if mention.start > at), None)
    if subject is None and mentions[0].start > at and len(mentions) > 1:  # is in front the car or the bus
        return None
    pair = (subject, thing) if clause[at] in straight else (thing, subject)
    return Relation(*pair, denied=negated(clause))


def relation_claim(clause: Clause, hiding: bool, question: Question) -> str | None:
    """Does the clause affirm the relation that the question asks about? None where either states none.

    A question may be put in the negative: `not in front of`, `wrong to say that it is in front of`.
    """
    read = hiding_relation if hiding else distance_relation
    said = read(clause)
    asked = read(question.tokens) if said else None
    if said is None or asked is None:
        return None
    question_negated = asked.denied != bool(DISPUTES.intersection(question.tokens))
    if _matches(said, asked.first, asked.second):
        holds = not said.denied
    elif _matches(said, asked.second, asked.first) and not said.denied and not hiding:
        holds = False
    else:
        return None
    return "yes" if holds != question_negated else "no"


def _matches(said: Relation, first: str | None, second: str | None) -> bool:
    named = said.first is not None or said.second is not None
    return named and said.first in {first, None} and said.second in {second, None}


def restated(clause: Clause, question: Question) -> str | None:
    """Does the clause put the question as a statement (`the dog is sitting on the bench`), or deny it?"""
    if hedged(clause) or not question.words or negated(question.tokens) or DISPUTES.intersection(question.tokens):
        return None
    wanted = [word for word in named(question.tokens) if word not in _ASKS]
    said = iter(named(clause))
    started = False
    for word in wanted:
        for other in said:
            if other == word:
                started = True
                break
            if started and other not in _MAY_STAND_BETWEEN and not other.endswith("ing"):
                return None
        else:
            return None
    return "no" if negated(clause) else "yes"


def compares(clause: Clause) -> bool:
    return bool((_MORE | _FEWER | _OUTNUMBERS | {"outnumbered"}).intersection(clause))


def larger_of(clause: Clause, pair: tuple[str, str]) -> str | None:
    """Which of the pair the clause says is more numerous; None where it compares nothing, or denies it."""
    mentions = [mention for mention in class_mentions(clause) if mention.value in pair]
    if not compares(clause) or negated(clause) or not mentions or hedged(clause):
        return None
    words = set(clause)
    turn = next((i for i, token in enumerate(clause) if token in _OUTNUMBERS | {"than", "outnumbered"}), len(clause))
    before = {mention.value for mention in mentions if mention.end <= turn}
    if len(before) != 1:
        return None
    (first,) = before
    fewer = bool(words & (_FEWER | {"outnumbered"}))
    if fewer == bool(words & (_MORE | _OUTNUMBERS)):
        return None
    return next(name for name in pair if (name == first) != fewer)


# ---- as asked -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Predicate:
    """Words with which a statement affirms, or denies, what a subtype asks."""

    affirming: Claims
    denying: Claims = frozenset()
    beside: Claims = frozenset()
    """one of these must stand in an affirming clause too"""
    beside_denying: Claims = frozenset()
    unless: Claims = frozenset()
    """words of statements about something else"""
    alone: bool = False
    """may the word be the whole statement? A lone `wrong` may comment on the question."""
    opposites: bool = False
    """is what is not denied affirmed? `not dense` need not be sparse."""

    def claim(self, clause: Clause) -> str | None:
        words = set(clause)
        if (len(words) < 2 and not self.alone) or hedged(clause) or BARELY & words:
            return None
        if self.unless & words or (_LESS & words and not self.beside & _LESS):
            return None
        affirms = bool(words & self.affirming) and (not self.beside or bool(words & self.beside))
        denies = bool(words & self.denying) and (not self.beside_denying or bool(words & self.beside_denying))
        if affirms == denies:
            return None
        if denies and negated(clause):
            return "yes" if self.opposites else None
        return "yes" if affirms and not negated(clause) else "no"


_LESS = word_set("less fewer least few little some")
WRONG_TO_SAY = frozenset(
    ("negation.conjunction", *(f"negation.composite_conjunction_{number}" for number in (1, 2, 3)))
)
"""Subtypes that ask whether a description is wrong: `it is wrong` answers yes, `it is correct to say so` answers no."""

PREDICATES: Mapping[str, Predicate] = {
    "viewfactor.dominance": Predicate(word_set("dominate dominates dominated dominating dominant")),
    "viewfactor.sparsity": Predicate(word_set("sparse sparsely"), word_set("dense densely abundant plentiful")),
    "depth.range": Predicate(word_set("complex complicated"), frozenset({"simple"}), alone=True),
    "spatial.distribution": Predicate(
        frozenset({"left"}), word_set("right evenly both middle center centre"), unless=frozenset({"empty"}), alone=True
    ),
    "segmentation.vertical_layout": Predicate(word_set("top upper uppermost above"), beside=word_set("sky skies")),
    "scene.skyline_visibility": Predicate(
        word_set("visible clear unobstructed"),
        word_set("blocked obstructed obscured hidden"),
        unless=word_set("sky skies"),
    ),
    "counterfactual.count_perturbation": Predicate(word_set("crowded busy")),
    "counterfactual.absence_viewfactor": Predicate(frozenset({"natural"}), beside=frozenset({"more"})),
    "counterfactual.attribute_substitution": Predicate(frozenset({"open"}), beside=frozenset({"less"})),
    **dict.fromkeys(
        WRONG_TO_SAY,
        Predicate(
            word_set("wrong incorrect inaccurate false untrue"),
            word_set("correct accurate true right fair"),
            beside_denying=frozenset({"to"}),  # `that is correct` may mean yes
            opposites=True,
        ),
    ),
}


def certain_sentences(tokens: list[str]) -> Iterator[list[str]]:
    """The sentences that do not begin with `perhaps`."""
    return (sentence for sentence in sentences(tokens) if sentence[0] not in POSSIBLY)
