"""What a clause states about presence: that something is there, or that it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise, takewhile

from urbanvlm.evaluate.parse_question import Question
from urbanvlm.evaluate.parse_text import DETERMINER_NO, clauses, sentences, tokens_of
from urbanvlm.evaluate.vocabulary import (
    CLASSES,
    VEHICLE_WORDS,
    VEHICLES,
    Mention,
    class_mentions,
    content_words,
    own_mentions,
    word_set,
)

Claims = frozenset[str]
Clause = Sequence[str]

# ---- negation -------------------------------------------------------------------------------------------------------

_AFTER_ANSWER_NO = word_set(
    "there it they i we you he she this that these those the a an because since as but and or not no yes all only in "
    "based according sir"
)
_NEGATES_WHAT_FOLLOWS = word_set("without lack lacks lacking devoid absence") | {DETERMINER_NO}
_NOBODY = word_set("none nothing nobody")
_NEGATES_ALONE = word_set("neither absent missing nowhere zero fail fails failed") | _NOBODY | _NEGATES_WHAT_FOLLOWS
NEGATORS = word_set("not never 0") | _NEGATES_ALONE
POSSIBLY = word_set("may might maybe perhaps possibly doubt unlikely")
BARELY = word_set("hardly barely scarcely almost nearly virtually")
DISPUTES = word_set("wrong incorrect false untrue inaccurate")
_DEGREES = word_set("fully clearly entirely completely only just many much enough more exactly all every too so very")
_PLAINLY = word_set("clearly well properly exactly fully entirely")
_BROKEN_OFF = word_set("a an the") | {DETERMINER_NO}
_LIMITS = {(DETERMINER_NO, word) for word in ("fewer", "less", "other")}


def mark_determiners(tokens: Sequence[str]) -> list[str]:
    """The tokens with the `no` before a noun, and `free of`, replaced by `DETERMINER_NO`."""
    marked = list(tokens)
    for index, (token, following) in enumerate(pairwise([*tokens, ""])):
        hyphen = following == "-" and "".join(tokens[index + 2 : index + 3]).isalpha()
        noun = following.isalpha() and following not in _AFTER_ANSWER_NO
        noun = noun or (following == "" and index > 0 and tokens[index - 1] in _IS)  # broken off: `there are no`
        if (token == "no" and (noun or hyphen)) or (token in {"free", "empty"} and following == "of"):
            marked[index] = DETERMINER_NO
    return marked


def negated(clause: Clause) -> bool:
    return sum(token in NEGATORS for token in clause) % 2 == 1


def hedged(clause: Clause) -> bool:
    """`there may be`: it could be so, which claims nothing; `could not` is no hedge."""
    return bool(POSSIBLY.intersection(clause)) or any(
        token == "could" and following != "not" and DETERMINER_NO not in clause
        for token, following in pairwise([*clause, ""])
    )


# ---- there is, there is not -----------------------------------------------------------------------------------------

_CONTAINS = word_set(
    "contain contains show shows has have include includes see spot detect feature features depict find notice"
)
_SEEN = _CONTAINS | word_set(
    "visible present seen spotted detected found exist exists observed depicted shown appear appears featured "
    "identified noticed located occur occurs"
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
    words = set(clause)
    if hedged(clause) or words & (BARELY | DISPUTES) or _limits(pairs, clause):
        return None
    placed = bool(words & places) and bool(words & _IS or class_mentions(clause))
    predicate = placed or bool(words & _SEEN) or bool("there" in words and words & _EXISTS)
    negations = sum(token in NEGATORS for token in clause)
    if negations == 0:
        return "yes" if predicate else None
    if negations % 2 == 0 or (not predicate and words & _NOBODY and class_mentions(clause)):
        return None  # `none of the cars are red`, `nothing hides the car`: there are cars
    return "no" if predicate or "any" in words or words & _NEGATES_ALONE else None


_LOCATING = word_set("on in under above below behind beside besides near over around along inside outside next")
_SURFACES = word_set("road sidewalk terrain ground sky background foreground scene area city town")
"""Where a street's things usually are: `on the road` tells no car from another."""
_VIEWERS = word_set("camera viewer observer")
_JOINTS = word_set("or and nor ,")
_SIGNS = word_set("sign evidence trace existence presence instance hint such other single")
_KINDS: tuple[Mapping[str, str], ...] = (
    {colour: colour for colour in "red blue green yellow orange white black brown grey silver pink purple".split()},
    {
        **dict.fromkeys(("man", "men", "guy", "guys"), "man"),
        **dict.fromkeys(("woman", "women", "lady", "ladies"), "woman"),
        **dict.fromkeys(("boy", "boys"), "boy"),
        **dict.fromkeys(("girl", "girls"), "girl"),
        **dict.fromkeys(("child", "children"), "child"),
    },
)
"""Words that exclude each other: what is blue is not red."""
_DESCRIBING_VERBS = word_set("is are was were has have do does did can could may might")
_SAYS = word_set("see seems seem appears appear think believe say show shows indicates suggests so but is find notice")
_RELATIVE = word_set("that which who")


def main_clause(clause: Clause) -> Clause:
    """The clause less what only describes a thing in it: `that is not moving`."""
    for index in range(1, len(clause) - 1):
        describes = clause[index] in _RELATIVE and clause[index + 1] in _DESCRIBING_VERBS
        if describes and clause[index - 1] not in _SAYS:
            return clause[:index]
    return clause


def denied_words(clause: Clause) -> Clause:
    """What a clause of negative existence says is not there: `people` of `no people are on the bus`."""
    index = next((i for i, token in enumerate(clause) if token in NEGATORS), 0)
    verb = next((i for i in range(index, len(clause)) if clause[i] in _CONTAINS), None)
    follows = clause[index] in _NEGATES_WHAT_FOLLOWS or (clause[index] == "not" and verb is not None)
    return clause[index + 1 :] if follows else clause


def denied_classes(clause: Clause) -> Claims:
    region = denied_words(clause)
    found = {mention.value for mention in own_mentions(region, class_mentions(region))}
    return frozenset(found | VEHICLES if VEHICLE_WORDS.intersection(region) else found)


def presence(clause: Clause, question: Question, places: Claims = frozenset(), each: bool = False) -> str | None:
    """`existence` of what was asked (of anything that has a name, where that is not known).

    `each`: does one of several things that are asked about count alone?
    """
    clause = main_clause(clause)
    said = existence(clause, places)
    if said is None or clause[-1] in _BROKEN_OFF or ("not" in clause and _PLAINLY.intersection(clause)):
        return None
    if NEUTRAL_WORDS.union(places).issuperset(token for token in clause if token.isalpha()):
        return said if said == "no" or not _SPEAKER_ONLY.issuperset(clause) else None
    if not question.wording:
        return said if (denied_classes(clause) if said == "no" else _classes_there(clause)) else None
    about = _denies(clause, question, each) if said == "no" else _affirms(clause, question, each)
    return said if about and not of_another_kind(clause, question) else None


def _denies(clause: Clause, question: Question, each: bool) -> bool:
    """Is what is denied what was asked about, in its own words or in fewer: no blue kite, where a red one was?"""
    asked = _asked(question)
    denied: set[str] = set()
    for phrase in _phrases(denied_words(clause)):
        words = _described(phrase)
        if VEHICLE_WORDS.intersection(phrase) and VEHICLES & asked.subject:
            words = words - VEHICLE_WORDS | (VEHICLES & asked.subject)
        if words and words <= asked.words:
            denied |= words
    if each or len(asked.options) == 1:
        found = bool(denied & asked.subject)
    else:
        found = all(denied & option for option in asked.options)
    elsewhere = any(
        (words if asked.where else words - _SURFACES) and not (place in asked.where and words <= asked.words)
        for place, words in _places(clause).items()
        if place != "in" or words & CLASSES
    )
    return found and not elsewhere


def _affirms(clause: Clause, question: Question, each: bool) -> bool:
    """Is what is there what was asked about, with all that describes it?"""
    asked = _asked(question)
    words = set(content_words(clause)) - (named_classes(clause) - _classes_there(clause))
    found = bool(words & asked.subject) if each else any(option <= words for option in asked.options)
    return found and asked.surroundings <= words and asked.where <= _where(clause)


def of_another_kind(clause: Clause, question: Question) -> bool:
    """Is it a blue one that is spoken of, where a red one was asked about; men, where women were?"""
    for kinds in _KINDS:
        said = {kinds[token] for token in clause if token in kinds}
        if said and (asked := {kinds[token] for token in question.tokens if token in kinds}) and not asked & said:
            return True
    return False


def _phrases(clause: Clause) -> list[list[str]]:
    """`a bus` and `a truck` of `a bus or a truck on the road`."""
    found: list[list[str]] = [[]]
    for token in clause:
        if token in _LOCATING:
            break
        if token in _JOINTS:
            found.append([])
        else:
            found[-1].append(token)
    return found


def _described(phrase: Clause) -> set[str]:
    return {word for word in content_words(phrase) if word not in NEUTRAL_WORDS and word not in _SIGNS}


def _in_passing(question: Clause) -> Claims:
    """What the question says of a thing that an answer need not repeat: `together`, `close to the camera`."""
    return _VIEWERS | {"together", "close", "away"} if _VIEWERS.intersection(question) else frozenset({"together"})


def _places(clause: Clause) -> dict[str, set[str]]:
    """on -> table, for `a cup on the table`; nothing for `a cup in the image`."""
    found: dict[str, list[str]] = {}
    words: list[str] = []
    for token in clause:
        if token in _LOCATING:
            words = found.setdefault(token, [])
        else:
            words.append(token)
    return {place: described for place, words in found.items() if (described := _described(words))}


def _where(clause: Clause) -> Claims:
    return frozenset(place for place, words in _places(clause).items() if words - _SURFACES)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question after presence, in content words."""

    words: Claims
    subject: Claims
    """what is to be there"""
    options: tuple[Claims, ...]
    """the subject, or those of which one suffices"""
    where: Claims
    """on, under, …"""
    surroundings: Claims


@lru_cache(maxsize=1 << 12)
def _asked(question: Question) -> _Asked:
    tokens = question.tokens
    subject = list(takewhile(lambda token: token not in _LOCATING, tokens))
    if not _described(subject):
        subject = tokens
    passing = _in_passing(tokens) if _described(subject) - _in_passing(tokens) else frozenset[str]()
    options = [
        frozenset(_described(list(part)) - passing)
        for is_or, part in groupby(subject, lambda t: t == "or")
        if not is_or
    ]
    unsaid = _SURFACES | passing
    places = {place: left for place, words in _places(tokens).items() if (left := words - unsaid)}
    return _Asked(
        words=frozenset(_described(tokens)),
        subject=frozenset(_described(subject) - passing),
        options=tuple(filter(None, options)) or (frozenset(),),
        where=frozenset(places),
        surroundings=frozenset().union(*places.values()),
    )


def things_asked(question: Question) -> Claims:
    """All that the question names, but for the road and the like."""
    return _asked(question).words - _SURFACES - _in_passing(question.tokens)


def _classes_there(clause: Clause) -> Claims:
    """The classes that a clause of existence says are there: no bus in `people wait for a bus`."""

    def imagined(mention: Mention) -> bool:
        before = [token for token in clause[: mention.start] if token not in {"a", "an", "the"}]
        return before[-1:] in (["for"], ["like"])

    return frozenset(mention.value for mention in class_mentions(clause) if not imagined(mention))


def named_classes(clause: Clause) -> Claims:
    return frozenset(mention.value for mention in class_mentions(clause))


_MAY_DENY = NEGATORS | {"no", "free", "empty"}


def denies_presence(text: str, question: Question) -> bool:
    """Does the text say that there is none of what is asked (`no cars are visible`, `none`)? A bare `no` does not."""
    tokens = tokens_of(text)
    if not _MAY_DENY.intersection(tokens):
        return False
    return any(
        presence(clause, question) == "no"
        for sentence in sentences(mark_determiners(tokens))
        for clause in clauses(sentence)
    )
