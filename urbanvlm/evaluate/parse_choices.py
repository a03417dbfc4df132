"""Which yes or no, label or class a cleaned text settles on.

Each reader returns the set of values that the text claims: one is an answer, none says nothing, more contradict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from urbanvlm.evaluate.parse_text import clauses, sentences, tokens_of, without_ignorance
from urbanvlm.evaluate.vocabulary import Mention, class_mentions, word_set

Claims = frozenset[str]

_OPPOSITE = {"yes": "no", "no": "yes"}

# ---- negation -------------------------------------------------------------------------------------------------------

DETERMINER_NO = "NO"
"""Stands for the `no` of `no cars`, which is not the answer no. Upper case, so never a token of a cleaned text."""

_AFTER_ANSWER_NO = word_set(
    "there it they i we you he she this that these those the a an because since as but and or not no yes all only in "
    "based according sir"
)
_NEGATORS = word_set(
    "not none never neither without absent missing lack lacks lacking devoid nothing nobody zero 0"
) | {DETERMINER_NO}
_NEGATIVE_ALONE = _NEGATORS - {"not", "never", "0"}
_BARELY = frozenset({"hardly", "barely", "scarcely", "almost", "nearly", "virtually"})
_DEGREES = frozenset({"fully", "clearly", "entirely", "completely", "only", "just"})
_SEEN = word_set(
    "visible present seen see spot spotted detect detected contain contains show shows has have exist exists observed "
    "depicted shown appear appears featured includes include"
)
_EXISTS = frozenset({"is", "are", "was", "were", "exists", "exist", "seems", "may", "might", "could", "must"})


def mark_determiners(tokens: Sequence[str]) -> list[str]:
    """The tokens with the `no` before a noun replaced by `DETERMINER_NO`."""
    marked = list(tokens)
    for index in range(len(tokens) - 1):
        following = tokens[index + 1]
        if tokens[index] == "no" and following.isalpha() and following not in _AFTER_ANSWER_NO:
            marked[index] = DETERMINER_NO
    return marked


def existence(clause: Sequence[str]) -> str | None:
    """Does the clause say that something is there (`yes`), that it is not (`no`), or neither (None)?"""
    pairs = set(pairwise(clause))
    if _BARELY.intersection(clause) or any(("not", degree) in pairs for degree in _DEGREES):
        return None
    words = set(clause)
    predicate = bool(words & _SEEN) or any(("there", verb) in pairs for verb in _EXISTS)
    negations = sum(token in _NEGATORS for token in clause)
    if negations == 0:
        return "yes" if predicate else None
    if negations % 2 == 0:
        return None
    return "no" if predicate or "any" in words or words & _NEGATIVE_ALONE else None


def denies_existence(text: str, asked: Claims) -> bool:
    """Does the text say that there is none of what is asked (`no cars are visible`, `none`)? A bare `no` does not."""
    for sentence in sentences(mark_determiners(tokens_of(text))):
        for clause in clauses(sentence):
            if existence(clause) == "no" and _relevant(clause, asked):
                return True
    return False


def classes_in(text: str) -> Claims:
    return frozenset(mention.value for mention in class_mentions(tokens_of(text)))


def _relevant(clause: Sequence[str], asked: Claims) -> bool:
    about = {mention.value for mention in class_mentions(clause)}
    return not asked or not about or bool(about & asked)


# ---- yes or no ------------------------------------------------------------------------------------------------------

EXISTENTIAL = frozenset({"presence.binary", "object.cooccurrence", "negation.absence"})
"""Subtypes that `there is …` and `no … is visible` answer."""

INVERTED = frozenset({"negation.absence"})
"""Existential subtypes that ask for absence: `there is no bus` answers yes, `there is a bus` answers no."""

WRONG_TO_SAY = frozenset(
    ("negation.conjunction", *(f"negation.composite_conjunction_{number}" for number in (1, 2, 3)))
)
"""Subtypes that ask whether a description is wrong: `it is wrong` answers yes, `it is correct` answers no."""

_PREDICATES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "viewfactor.dominance": (word_set("dominate dominates dominated dominating dominant"), frozenset()),
    "viewfactor.sparsity": (frozenset({"sparse", "sparsely"}), word_set("dense densely abundant plentiful")),
    "depth.range": (frozenset({"complex"}), frozenset({"simple"})),
    "spatial.distribution": (frozenset({"left"}), word_set("right evenly both middle center centre")),
    "scene.skyline_visibility": (
        frozenset({"visible", "clear", "unobstructed"}),
        frozenset({"blocked", "obstructed", "obscured", "hidden"}),
    ),
    **dict.fromkeys(
        WRONG_TO_SAY, (word_set("wrong incorrect inaccurate false untrue"), frozenset({"correct", "accurate", "true"}))
    ),
}
"""subtype -> words with which a statement affirms, or denies, what is asked."""

_YES = frozenset({"yes", "yep", "yeah", "yup"})
_NO = frozenset({"no", "nope", "nah"})
_EITHER = re.compile(r"\b(?:either )?(?:yes|no|true|false) ?(?:or|/|\|) ?(?:yes|no|true|false)\b")
_SOFT_NO = re.compile(
    r"\b(?:(?:definitely|absolutely|certainly|probably|likely|surely|clearly|maybe|perhaps|possibly|apparently"
    r"|of course|i (?:think|guess|believe)) not|not (?:really|at all|exactly)|i do not (?:think|believe) so)"
    r"(?= ?[.,;!\n]|$)"
)
_AGREES = re.compile(r"(?:definitely|absolutely|certainly|of course|indeed|i (?:think|believe|guess) so)")
_AGREES_TRUE = re.compile(r"(?:(?:that|this|it) is )?(not )?(true|correct|affirmative|false|incorrect|negative)")
_ELLIPTIC = re.compile(r"(?:it|they|that|this|he|she|i|we) (?:is|are|does|do|was|were|has|have|would|will|can)( not)?")


def yes_no_claims(text: str, subtype: str, asked: Claims) -> Claims:
    """What a text answers to a yes/no question of the subtype; `asked` are the classes that the question names.

    An explicit yes or no outranks statements, unless the statement in its own sentence contradicts it.
    """
    text = _SOFT_NO.sub(" no ", _EITHER.sub(" ", without_ignorance(text)))
    tokens = mark_determiners(tokens_of(text))
    if tokens in (["y"], ["n"]):
        return frozenset({"yes" if tokens == ["y"] else "no"})
    explicit: set[str] = set()
    beside: set[str] = set()
    statements: set[str] = set()
    for sentence in sentences(tokens):
        here = _explicit(sentence)
        said = _statements(sentence, subtype, asked)
        explicit |= here
        statements |= said
        if len(here) == len(said) == 1:
            beside |= said
    if not explicit:
        return frozenset(statements)
    # "No, there is only a truck" denies a bus: without the question, an affirmation may be about another thing.
    excused = {"yes"} if subtype in EXISTENTIAL - INVERTED and not asked else set()
    return frozenset(explicit | (beside - excused if subtype in EXISTENTIAL else set()))


def _explicit(sentence: Sequence[str]) -> set[str]:
    found = set()
    for index, token in enumerate(sentence):
        if token in _YES | _NO and sentence[max(0, index - 1) : index] != ["not"]:
            found.add("yes" if token in _YES else "no")
    return found


def _statements(sentence: Sequence[str], subtype: str, asked: Claims) -> set[str]:
    parts = clauses([token for token in sentence if token not in _YES | _NO])
    found = {_agreement(" ".join(part), subtype) for part in parts}
    if subtype in EXISTENTIAL:
        found |= _existence_claims(parts, subtype, asked)
    elif subtype in _PREDICATES:
        found |= {_predicate_claim(part, *_PREDICATES[subtype]) for part in parts if _relevant(part, asked)}
    return {value for value in found if value is not None}


def _agreement(clause: str, subtype: str) -> str | None:
    """`definitely`, `that is correct`, `it is not`: agreement with the question as a whole."""
    if _AGREES.fullmatch(clause):
        return "yes"
    if subtype in WRONG_TO_SAY or subtype in INVERTED:
        return None
    if match := _ELLIPTIC.fullmatch(clause):
        return "no" if match[1] else "yes"
    if match := _AGREES_TRUE.fullmatch(clause):
        return "no" if bool(match[1]) != (match[2] in {"false", "incorrect", "negative"}) else "yes"
    return None


def _existence_claims(parts: Sequence[Sequence[str]], subtype: str, asked: Claims) -> set[str]:
    said = {
        (value, classes_in(" ".join(part))) for part in parts if _relevant(part, asked) and (value := existence(part))
    }
    if subtype == "object.cooccurrence":
        if any(value == "no" for value, _ in said):
            return {"no"}
        seen = frozenset[str]().union(*(about for _, about in said))
        return {"yes"} if said and asked <= seen else set()
    return {_OPPOSITE[value] if subtype in INVERTED else value for value, _ in said}


def _predicate_claim(clause: Sequence[str], affirming: frozenset[str], denying: frozenset[str]) -> str | None:
    """A denied denial (`not dense`) claims nothing: it need not be an affirmation."""
    words = set(clause)
    if len(words) < 2 and not words & {"complex", "simple", "left", "right", "evenly"}:
        return None  # a lone `wrong` may comment on the question
    affirms, denies = bool(words & affirming), bool(words & denying)
    negated = sum(token in _NEGATORS for token in clause) % 2 == 1
    if affirms == denies or (denies and negated):
        return None
    return "yes" if affirms and not negated else "no"


# ---- labels and classes ---------------------------------------------------------------------------------------------

_DEPTH_WORDS = {
    **dict.fromkeys(("low", "shallow"), "low"),
    **dict.fromkeys(("moderate", "medium", "intermediate"), "moderate"),
    **dict.fromkeys(("high", "deep"), "high"),
}
_EVEN = "evenly spread"
_SIDE_WORDS = {
    **dict.fromkeys(("left", "lefthand"), "left side"),
    **dict.fromkeys(("right", "righthand"), "right side"),
    **dict.fromkeys(word_set("evenly even both equally balanced uniformly throughout middle center centre"), _EVEN),
}
_LIST_GAP = word_set(", or and a an the / | side spread ( ) on either")
_OR = frozenset({"or", "/", "|"})
_NEGATES_NEXT = frozenset({"not", "no", DETERMINER_NO, "never", "neither", "nor", "without"})
_NEGATION_ENDS = frozenset({",", ".", ";", ":", "but", "\n"})


def depth_claims(text: str) -> Claims:
    """low, moderate, high; a negated label (`not high`) is no claim."""
    tokens = mark_determiners(tokens_of(without_ignorance(text)))
    return _values(_affirmed(tokens, _without_options(tokens, _word_mentions(tokens, _DEPTH_WORDS))))


def side_claims(text: str) -> Claims:
    """left side, right side, even; both sides at once, or a word for the middle, are even."""
    tokens = mark_determiners(tokens_of(without_ignorance(text)))
    mentions = _affirmed(tokens, _without_options(tokens, _word_mentions(tokens, _SIDE_WORDS)))
    values = _values(_before(tokens, mentions, "than"))
    sides = values - {_EVEN}
    if len(sides) == 2 and (values != sides or _joined_sides(tokens)):
        return frozenset({_EVEN})
    return values


_BOTH_SIDES = re.compile(r"\b(left|right)(?: side)? (?:and|to)(?: on)?(?: the)? (?!\1)(?:left|right)\b")


def _joined_sides(tokens: Sequence[str]) -> bool:
    return _BOTH_SIDES.search(" ".join(tokens)) is not None


def class_claims(text: str, subtype: str) -> Claims:
    """The class that a text settles on, by what the subtype asks of it."""
    tokens = mark_determiners(tokens_of(without_ignorance(text)))
    if subtype == "negation.exclusion_choice":
        return _absent_class(tokens)
    mentions = _without_options(tokens, class_mentions(tokens))
    if subtype == "multi_hop.which_is_more":
        return _larger_class(tokens, mentions)
    mentions = [mention for mention in _affirmed(tokens, mentions) if not _is_reference(tokens, mention)]
    values = _values(mentions)
    return _superlative(tokens, mentions) or values if len(values) > 1 else values


def _word_mentions(tokens: Sequence[str], words: Mapping[str, str]) -> list[Mention]:
    return [Mention(i, i + 1, words[token]) for i, token in enumerate(tokens) if token in words]


def _values(mentions: Sequence[Mention]) -> Claims:
    return frozenset(mention.value for mention in mentions)


def _without_options(tokens: Sequence[str], mentions: Sequence[Mention]) -> list[Mention]:
    """The mentions less those in a list of options: `a, b or c`, `a/b`, or three and more between commas."""
    kept: list[Mention] = []
    row: list[Mention] = []
    joints: set[str] = set()
    for mention in [*mentions, None]:
        gap = tokens[row[-1].end : mention.start] if row and mention else []
        if not gap or not _LIST_GAP.issuperset(gap):
            different = len(_values(row))
            kept += [] if (different > 1 and joints & _OR) or (different > 2 and "," in joints) else row
            row, joints, gap = [], set(), []
        if mention is not None:
            joints.update(gap)
            row.append(mention)
    return kept


def _affirmed(tokens: Sequence[str], mentions: Sequence[Mention]) -> list[Mention]:
    """The mentions without a negation shortly before them."""

    def negated(mention: Mention) -> bool:
        before = tokens[max(0, mention.start - 3) : mention.start]
        breaks = [index for index, token in enumerate(before) if token in _NEGATION_ENDS]
        near = before[breaks[-1] + 1 :] if breaks else before
        return bool(_NEGATES_NEXT.intersection(near)) or near[-2:] == ["instead", "of"]

    return [mention for mention in mentions if not negated(mention)]


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


_REFERENCE_WORDS = word_set(
    "than behind beside near of on above below over under by with from at to for against in around along"
)
_COVERED_BY = {(verb, word) for verb in ("dominated", "covered", "occupied", "filled") for word in ("by", "with")}
_ARTICLES = frozenset({"a", "an", "the", "any", "some", "its", "this", "that"})


def _is_reference(tokens: Sequence[str], mention: Mention) -> bool:
    """`the car` in `the person in front of the car`: only the place of what is named."""
    index = mention.start - 1
    while index >= 0 and tokens[index] in _ARTICLES:
        index -= 1
    if index > 0 and (tokens[index - 1], tokens[index]) in _COVERED_BY:
        return False
    return index >= 0 and tokens[index] in _REFERENCE_WORDS


_SUPERLATIVES = frozenset({"closest", "nearest", "top", "topmost", "uppermost", "highest"})


def _superlative(tokens: Sequence[str], mentions: Sequence[Mention]) -> Claims:
    """The class of the one clause that says `closest` or `top`; none where that is not one class."""
    by_start = {mention.start: mention for mention in mentions}
    found: set[str] = set()
    clause: list[int] = []
    for index, token in [*enumerate(tokens), (len(tokens), ".")]:
        if token in {".", ",", ";", "!", "\n", "but", "while"}:
            if any(tokens[i] in _SUPERLATIVES for i in clause):
                found |= {by_start[i].value for i in clause if i in by_start}
            clause = []
        else:
            clause.append(index)
    return frozenset(found) if len(found) == 1 else frozenset()


def _absent_class(tokens: Sequence[str]) -> Claims:
    """What a negative clause names; else the one class named, where nothing says that it is there."""
    denied: set[str] = set()
    others: set[str] = set()
    for sentence in sentences(list(tokens)):
        for clause in _class_clauses(sentence):
            named = _values(_without_options(clause, class_mentions(clause)))
            said = existence(clause)
            if said == "no" or (said is None and _NEGATORS.intersection(clause)):
                denied |= named
            elif said is None:
                others |= named
    return frozenset(denied or others)


def _class_clauses(sentence: list[str]) -> list[list[str]]:
    """Clauses, with a list of options (`a tree, a car, or a bench`) taken out before its commas cut it."""
    kept = _without_options(sentence, class_mentions(sentence))
    options = {i for m in class_mentions(sentence) if m not in kept for i in range(m.start, m.end)}
    return clauses([token for index, token in enumerate(sentence) if index not in options])


def _larger_class(tokens: Sequence[str], mentions: Sequence[Mention]) -> Claims:
    """`more people than cars` and `fewer cars than people` name the people."""
    first = _values(_before(tokens, mentions, "than"))
    values = _values(mentions)
    if {"fewer", "less"}.intersection(tokens):
        return values - first
    return first


CHOICE_READERS: Mapping[str, Callable[[str, str, Claims], Claims]] = {
    "yes_no": yes_no_claims,
    "depth_label": lambda text, subtype, asked: depth_claims(text),
    "side_label": lambda text, subtype, asked: side_claims(text),
    "class": lambda text, subtype, asked: class_claims(text, subtype),
}
"""answer kind -> reader of (cleaned text, subtype's name, classes that the question names)"""
