"""What a clause states: that something is there or is not, is nearer, is hidden, is more numerous, or is as asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from urbanvlm.evaluate.parse_question import Question
from urbanvlm.evaluate.parse_text import DETERMINER_NO, clauses, sentences, tokens_of
from urbanvlm.evaluate.vocabulary import VEHICLE_WORDS, VEHICLES, Mention, class_mentions, own_mentions, word_set

Claims = frozenset[str]
Clause = Sequence[str]

# ---- negation -------------------------------------------------------------------------------------------------------

_AFTER_ANSWER_NO = word_set(
    "there it they i we you he she this that these those the a an because since as but and or not no yes all only in "
    "based according sir"
)
_NEGATES_WHAT_FOLLOWS = word_set("without lack lacks lacking devoid") | {DETERMINER_NO}
_NOBODY = word_set("none nothing nobody")
_NEGATES_ALONE = word_set("neither absent missing zero fail fails failed") | _NOBODY | _NEGATES_WHAT_FOLLOWS
NEGATORS = word_set("not never 0") | _NEGATES_ALONE
_POSSIBLY = word_set("may might maybe perhaps possibly doubt unlikely")
_BARELY = word_set("hardly barely scarcely almost nearly virtually")
_DEGREES = word_set("fully clearly entirely completely only just many much enough more exactly all every too so very")
_LIMITS = {(DETERMINER_NO, word) for word in ("fewer", "less", "other")}


def mark_determiners(tokens: Sequence[str]) -> list[str]:
    """The tokens with the `no` before a noun, and `free of`, replaced by `DETERMINER_NO`."""
    marked = list(tokens)
    for index, (token, following) in enumerate(pairwise(tokens)):
        hyphen = following == "-" and "".join(tokens[index + 2 : index + 3]).isalpha()
        noun = following.isalpha() and following not in _AFTER_ANSWER_NO
        if (token == "no" and (noun or hyphen)) or (token == "free" and following == "of"):
            marked[index] = DETERMINER_NO
    return marked


def negated(clause: Clause) -> bool:
    return sum(token in NEGATORS for token in clause) % 2 == 1


def _hedged(clause: Clause) -> bool:
    """`there may be`: it could be so, which claims nothing; `could not` is no hedge."""
    return bool(_POSSIBLY.intersection(clause)) or any(
        token == "could" and following != "not" for token, following in pairwise([*clause, ""])
    )


# ---- there is, there is not -----------------------------------------------------------------------------------------

_CONTAINS = word_set(
    "contain contains show shows has have include includes see spot detect feature features depict find notice"
)
_SEEN = _CONTAINS | word_set(
    "visible present seen spotted detected found exist exists observed depicted shown appear appears featured"
)
_IS = word_set("is are was were")
_EXISTS = _IS | word_set("exists exist seems must")
NEUTRAL_WORDS = (
    NEGATORS
    | _SEEN
    | word_set(
        "there it they them these those this that one ones some several many few any all both either nor no such a an "
        "the thing things object objects kind sort is are was were be been being do does did had can could will would "
        "must i we you seem seems to in on of at and or as well so here now clearly indeed also too just really "
        "definitely probably likely certainly surely think believe say guess looks look like image picture photo scene "
        "view frame foreground background left right side sides middle center centre top bottom far near nearby "
        "distance front back behind anywhere somewhere least more than two three four five six seven eight nine ten "
        "plenty lots lot couple number anything whatsoever"
    )
)
"""Words of statements that are about what was asked without naming it: `there are several in the background`."""
_SPEAKER_ONLY = word_set("i you we can could will would do did have see find notice now clearly here also just really")
"""`I can see` says nothing yet."""


def _limits(pairs: set[tuple[str, str]], clause: Clause) -> bool:
    """`not many`, `not only`, `not 3`, `no other`, `no more than`: something may well be there."""
    amounts = any(first == "not" and (second in _DEGREES or second.isdigit()) for first, second in pairs)
    return amounts or not _LIMITS.isdisjoint(pairs) or (DETERMINER_NO in clause and ("more", "than") in pairs)


def existence(clause: Clause, places: Claims = frozenset()) -> str | None:
    """Does the clause say that something is there (`yes`), that it is not (`no`), or neither (None)?

    `places` are words that say as much as `is visible`, such as foreground.
    """
    pairs = set(pairwise(clause))
    if _hedged(clause) or _BARELY.intersection(clause) or _limits(pairs, clause):
        return None
    words = set(clause)
    placed = bool(words & places) and bool(words & _IS or class_mentions(clause))
    predicate = placed or bool(words & _SEEN) or bool("there" in words and words & _EXISTS)
    negations = sum(token in NEGATORS for token in clause)
    if negations == 0:
        return "yes" if predicate else None
    if negations % 2 == 0 or (not predicate and words & _NOBODY and class_mentions(clause)):
        return None  # `none of the cars are red`, `nothing hides the car`: there are cars
    return "no" if predicate or "any" in words or words & _NEGATES_ALONE else None


def denied_classes(clause: Clause) -> Claims:
    """The classes that a clause of negative existence says are not there: `person` in `no people are on the bus`."""
    index = next((i for i, token in enumerate(clause) if token in NEGATORS), 0)
    verb = next((i for i in range(index, len(clause)) if clause[i] in _CONTAINS), None)
    follows = clause[index] in _NEGATES_WHAT_FOLLOWS or (clause[index] == "not" and verb is not None)
    region = list(clause[index + 1 :]) if follows else list(clause)
    found = {mention.value for mention in own_mentions(region, class_mentions(region))}
    return frozenset(found | VEHICLES if VEHICLE_WORDS.intersection(region) else found)


def presence(clause: Clause, asked: Claims, places: Claims = frozenset()) -> str | None:
    """`existence` of what was asked (of anything that has a name, where `asked` is empty)."""
    said = existence(clause, places)
    if said is None:
        return None
    if NEUTRAL_WORDS.union(places).issuperset(token for token in clause if token.isalpha()):
        return said if said == "no" or not _SPEAKER_ONLY.issuperset(clause) else None
    named = denied_classes(clause) if said == "no" else _classes_there(clause)
    return said if named & asked or (named and not asked) else None


def _classes_there(clause: Clause) -> Claims:
    """The classes that a clause of existence says are there: no bus in `people wait for a bus`."""

    def imagined(mention: Mention) -> bool:
        before = [token for token in clause[: mention.start] if token not in {"a", "an", "the"}]
        return before[-1:] in (["for"], ["like"])

    return frozenset(mention.value for mention in class_mentions(clause) if not imagined(mention))


def named_classes(clause: Clause) -> Claims:
    return frozenset(mention.value for mention in class_mentions(clause))


def denies_presence(text: str, question: Question) -> bool:
    """Does the text say that there is none of what is asked (`no cars are visible`, `none`)? A bare `no` does not."""
    tokens = tokens_of(text)
    if not NEGATORS.intersection(tokens) and "no" not in tokens and "free" not in tokens:
        return False
    for sentence in sentences(mark_determiners(tokens)):
        for clause in clauses(sentence):
            if existence(clause) == "no" and presence(clause, asked_about(clause, question)) == "no":
                return True
    return False


def asked_about(clause: Clause, question: Question) -> Claims:
    """The classes asked, left unread where the clause names nothing that could be another one."""
    names_something = VEHICLE_WORDS.intersection(clause) or class_mentions(clause)
    return question.classes if names_something else frozenset()


def relevant(clause: Clause, question: Question) -> bool:
    """Is the clause about a class that was asked, or about none at all?"""
    about = named_classes(clause)
    return not about or not question.classes or bool(about & question.classes)


# ---- nearer, hidden, more -------------------------------------------------------------------------------------------

_NEARER = word_set("front closer nearer ahead before")
_FARTHER = word_set("behind farther further beyond")
_HIDDEN = word_set("hidden occluded obscured blocked covered concealed obstructed overlapped")
_HIDES = word_set("hides hide occludes occlude obscures obscure blocks block covers cover conceals conceal overlaps")
_UNHIDDEN = word_set("unobstructed unoccluded unobscured fully completely entirely")
_MORE = word_set("more greater larger higher bigger")
_FEWER = word_set("fewer less smaller lower")
_OUTNUMBERS = word_set("outnumber outnumbers exceed exceeds")
_DISPUTES = word_set("wrong incorrect false untrue inaccurate")


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
    if at is None or not mentions or _hedged(clause):
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
    question_negated = asked.denied != bool(_DISPUTES.intersection(question.tokens))
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


def compares(clause: Clause) -> bool:
    return bool((_MORE | _FEWER | _OUTNUMBERS | {"outnumbered"}).intersection(clause))


def larger_of(clause: Clause, pair: tuple[str, str]) -> str | None:
    """Which of the pair the clause says is more numerous; None where it compares nothing, or denies it."""
    mentions = [mention for mention in class_mentions(clause) if mention.value in pair]
    if not compares(clause) or negated(clause) or not mentions or _hedged(clause):
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
        if (len(words) < 2 and not self.alone) or _hedged(clause) or _BARELY & words:
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


_LESS = word_set("less fewer least")
WRONG_TO_SAY = frozenset(
    ("negation.conjunction", *(f"negation.composite_conjunction_{number}" for number in (1, 2, 3)))
)
"""Subtypes that ask whether a description is wrong: `it is wrong` answers yes, `it is correct to say so` answers no."""

PREDICATES: Mapping[str, Predicate] = {
    "viewfactor.dominance": Predicate(word_set("dominate dominates dominated dominating dominant")),
    "viewfactor.sparsity": Predicate(word_set("sparse sparsely"), word_set("dense densely abundant plentiful")),
    "depth.range": Predicate(word_set("complex complicated"), frozenset({"simple"}), alone=True),
    "spatial.distribution": Predicate(
        frozenset({"left"}), word_set("right evenly both middle center centre"), alone=True
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
    return (sentence for sentence in sentences(tokens) if sentence[0] not in _POSSIBLY)
