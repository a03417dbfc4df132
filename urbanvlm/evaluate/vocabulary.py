"""The classes that an answer may name, and the words that people and models use for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


def word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SYNONYMS: dict[str, tuple[str, ...]] = {
    "person": (
        *("persons", "people", "pedestrian", "human", "man", "men", "woman", "women", "child", "children"),
        *("boy", "girl", "guy", "lady", "ladies", "human being", "passer by", "passers by", "walker"),
    ),
    "rider": ("cyclist", "motorcyclist", "bicyclist"),
    "car": ("automobile", "motor car", "sedan", "hatchback", "minivan", "suv", "jeep", "taxi", "cab", "parked car"),
    "truck": ("lorry", "lorries", "pickup", "pick up truck", "pickup truck"),
    "bus": ("busses", "coach", "school bus"),
    "train": ("tram", "streetcar", "trolley"),
    "motorcycle": ("motorbike", "motor bike", "motor cycle"),
    "bicycle": ("bike", "push bike"),
    "traffic light": ("traffic signal", "stoplight", "stop light", "traffic lamp"),
    "stop sign": (),
    "traffic sign": ("road sign", "street sign"),
    "bench": ("park bench",),
    "tree": (
        *("vegetation", "greenery", "foliage", "green vegetation", "plant", "bush", "shrub", "hedge", "tree canopy"),
        *("tree crown", "leaf", "leaves"),
    ),
    "building": (
        "house",
        "skyscraper",
        "facade",
        "façade",
        "office building",
        "apartment building",
        "apartment block",
        "sky scraper",
    ),
    "sky": ("skies", "blue sky", "cloudy sky", "clear sky", "cloud"),
    "road": ("street", "roadway", "asphalt"),
    "sidewalk": ("pavement", "footpath", "side walk"),
    "pole": ("lamp post", "lamppost", "street light", "streetlight", "street lamp"),
    "terrain": ("grass", "lawn"),
    **dict.fromkeys(
        (
            *("wall", "fence", "ground", "caravan", "trailer", "bridge", "tunnel", "mountain", "water"),
            *("boat", "fire hydrant", "parking meter", "bird", "cat", "dog", "horse", "sheep", "cow"),
            *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
            *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
            *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
            *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair"),
            *("potted plant", "bed", "toilet", "laptop", "mouse", "remote", "keyboard"),
            *("oven", "toaster", "sink", "book", "clock", "vase"),
            *("scissors", "teddy bear", "hair drier", "toothbrush"),
        ),
        (),
    ),
    "airplane": ("plane", "aeroplane", "aircraft"),
    "couch": ("sofa",),
    "tv": ("television",),
    "cell phone": ("cellphone", "mobile phone"),
    "microwave": ("microwave oven",),
    "refrigerator": ("fridge",),
    "dining table": ("diningtable",),
}
"""Classes of COCO and Cityscapes -> further words. `vegetation` (Cityscapes) and `greenery` (a view factor) are `tree`,
because the study asks for trees by that name and its detector's and segmenter's words must meet somewhere."""

CLASSES = frozenset(_SYNONYMS)

_NO_CLASS = (
    *("bus stop", "bus lane", "bus station", "bike lane", "bicycle lane", "car park", "car lane", "train station"),
    *("train track", "tree line", "tree lined", "street view", "street scene", "street level", "street block"),
    *("building block", "light pole", "cloud cover", "man made", "water level", "remote control", "book shop"),
    *("bus shelter", "bus driver", "truck driver", "taxi driver", "car door", "car wash", "bike rack", "bicycle rack"),
    *("truck stop", "road side", "road marking", "wall clock face", "house number", "ground level", "ground floor"),
)
"""Phrases in which a class's word does not mean the class."""


VEHICLES = frozenset({"car", "truck", "bus", "train", "motorcycle", "bicycle"})
VEHICLE_WORDS = frozenset({"vehicle", "vehicles"})
"""Where there are none of these, there is none of `VEHICLES`; where there is one, it may be any of them."""


def _plural(phrase: str) -> str:
    if phrase.endswith(("s", "x", "ch", "sh")):
        return phrase + "es"
    if phrase.endswith("y") and phrase[-2] not in "aeiou":
        return phrase[:-1] + "ies"
    return phrase + "s"


def _phrases() -> dict[tuple[str, ...], str | None]:
    table: dict[tuple[str, ...], str | None] = {}
    for name, words in _SYNONYMS.items():
        for phrase in (name, *words):
            table[tuple(phrase.split())] = name
            table.setdefault(tuple(_plural(phrase).split()), name)
    for phrase in _NO_CLASS:
        table[tuple(phrase.split())] = None
        table[tuple(_plural(phrase).split())] = None
    return table


_PHRASES = _phrases()
_LONGEST = max(map(len, _PHRASES))
_FIRST_WORDS = frozenset(phrase[0] for phrase in _PHRASES)


@dataclass(frozen=True, slots=True)
class Mention:
    """A value named by the tokens `start` to `end` (exclusive)."""

    start: int
    end: int
    value: str


def class_mentions(tokens: Sequence[str]) -> list[Mention]:
    """Every class named in the lower-case tokens, the longest phrase winning, in their order.

    A hyphen between the words of a phrase counts as a space (`traffic-light`, `tree-lined`).
    """
    found: list[Mention] = []
    index = 0
    while index < len(tokens):
        end, name = _longest_phrase(tokens, index) if tokens[index] in _FIRST_WORDS else (index + 1, None)
        if name is not None:
            if found and found[-1].value == "orange" and found[-1].end == index:  # an orange car
                found.pop()
            found.append(Mention(index, end, name))
        index = end
    return found


def _longest_phrase(tokens: Sequence[str], start: int) -> tuple[int, str | None]:
    words: list[str] = []
    best: tuple[int, str | None] = (start + 1, None)
    for index in range(start, min(len(tokens), start + 2 * _LONGEST)):
        if tokens[index] == "-" and words:
            continue
        words.append(tokens[index])
        if len(words) > _LONGEST:
            break
        if tuple(words) in _PHRASES:
            best = (index + 1, _PHRASES[tuple(words)])
    return best


_FUNCTION_WORDS = word_set(
    "a an the this that these those there here it its they them one ones any some all both either neither nor or and "
    "of in on at to from by with for as is are was were be been being am do does did have has had can could will would "
    "should may might must not no how many much what which who whom whose where when why i you we me my your our see "
    "seen find spot count show shows shown visible present appear appears exist exists contain contains image picture "
    "photo photograph scene view frame number total amount please answer word yes if so than exactly currently"
)
"""Words that ask, and name nothing that is asked about."""


def singular(word: str) -> str:
    """A noun's singular; words that name nothing (`does`, `has`, `was`) as they are."""
    if word in _FUNCTION_WORDS:
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def named(tokens: Sequence[str]) -> list[str]:
    """The words in their order and in the singular, with a class's name for whatever words it goes by.

    A phrase in which a class's word does not mean the class (`bus stop`) is one word.
    """
    found: list[str] = []
    index = 0
    while index < len(tokens):
        end, name = _longest_phrase(tokens, index) if tokens[index] in _FIRST_WORDS else (index + 1, None)
        if name is not None:
            found.append(name)
        elif end > index + 1:
            found.append(" ".join(tokens[index:end]))
        elif tokens[index].isalnum():
            found.append(singular(tokens[index]))
        index = end
    return found


def content_words(tokens: Sequence[str]) -> list[str]:
    """`named` less the words that name nothing."""
    return [word for word in named(tokens) if word not in _FUNCTION_WORDS]


_PLACING = word_set(
    "than behind beside besides near on above below over under by with from at to for against in around along"
)
_COVERED_BY = {(verb, word) for verb in ("dominated", "covered", "occupied", "filled") for word in ("by", "with")}
_PART_OF = word_set("front left right top bottom side sides end middle center centre back part edge instead")
_ARTICLES = word_set("a an the any some its this that")


def own_mentions(tokens: Sequence[str], mentions: Sequence[Mention]) -> list[Mention]:
    """The mentions that do not only say where something else is: not the car in `the person in front of the car`."""
    return [mention for mention in mentions if not _says_where(tokens, mention)]


def _says_where(tokens: Sequence[str], mention: Mention) -> bool:
    index = mention.start - 1
    while index >= 0 and tokens[index] in _ARTICLES:
        index -= 1
    if index < 0:
        return False
    before = tokens[index - 1] if index else ""
    if tokens[index] == "of":
        return before in _PART_OF
    return tokens[index] in _PLACING and (before, tokens[index]) not in _COVERED_BY


_IRREGULAR = {"people": "person"}


def is_in_other_words(answer: str, value: object) -> bool:
    """Was an answer read as something that it does not say in so many words, as plant is read as tree, or two as 2?"""
    words = [_IRREGULAR.get(word, word) for word in re.findall(r"\w+", answer.casefold())]
    if isinstance(value, str):
        return not word_set(value) <= {*words, *map(singular, words)}
    return value is not None and not any(any(map(str.isdecimal, word)) for word in words)
