"""Questions that take a negation, two steps, or a change in thought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from urbanvlm.dataset.rules.ask import people_and, the_image, three_less_one
from urbanvlm.dataset.rules.depth import SPATIAL_REFUTE
from urbanvlm.dataset.rules.objects import ABSENCE
from urbanvlm.dataset.rules.rule import About, Rule
from urbanvlm.dataset.rules.words import a_or_an, counted, number, yes_no
from urbanvlm.experiment import Thresholds
from urbanvlm.records import Metadata


@dataclass(frozen=True, slots=True)
class Trait:
    """Something that is said of a street and holds or does not, by the share of one factor."""

    factor: str
    holds: Callable[[float, Thresholds], bool]
    seen: str
    not_seen: str

    def of(self, metadata: Metadata, lines: Thresholds) -> bool:
        return self.holds(metadata.view_factors[self.factor], lines)

    def words(self, metadata: Metadata, lines: Thresholds) -> str:
        return self.seen if self.of(metadata, lines) else self.not_seen


_GREEN = Trait(
    "greenery",
    lambda share, lines: share >= lines.green_share,
    "Plants catch the eye in many spots",
    "Plants hardly catch the eye",
)
_OPEN = Trait(
    "sky",
    lambda share, lines: share >= lines.open_share,
    "a good piece of sky lies open over the street",
    "hardly any sky lies open over the street",
)
_LEAFY = Trait(
    "greenery",
    lambda share, lines: share >= lines.leafy_share,
    "Leaves and grass spread over a large area",
    "Leaves and grass do not spread far",
)
_BUILT_UP = Trait(
    "building",
    lambda share, lines: share >= lines.built_up_share,
    "walls rise over a large area",
    "walls leave most of the view free",
)
_OPEN_SKY = Trait(
    "sky",
    lambda share, lines: share >= lines.open_sky_share,
    "The sky stretches wide over everything",
    "The sky does not stretch wide",
)
_LITTLE_GREEN = Trait(
    "greenery",
    lambda share, lines: share <= lines.little_green_share,
    "there is but little that is green",
    "there is a lot that is green",
)
_LOW_RISE = Trait(
    "building",
    lambda share, lines: share <= lines.low_rise_share,
    "The buildings stay low and take little room",
    "The buildings rise up and take much room",
)
_CLOSED_SKY = Trait(
    "sky",
    lambda share, lines: share <= lines.closed_sky_share,
    "what is above them leaves little of the sky",
    "plenty of sky is left above",
)


def _wrong_to_say(
    subtype: str, first: Trait, second: Trait, thoughts: tuple[str, str], phrasings: tuple[str, ...]
) -> Rule:
    """Yes, it is wrong, unless both hold. `thoughts`: what one thinks where the words fit, and where they do not."""

    def fits(metadata: Metadata, lines: Thresholds) -> bool:
        return first.of(metadata, lines) and second.of(metadata, lines)

    def answer(metadata: Metadata, about: About, lines: Thresholds) -> str:
        return yes_no(not fits(metadata, lines))

    def seen(metadata: Metadata, about: About, lines: Thresholds) -> str:
        both = first.of(metadata, lines) == second.of(metadata, lines)
        link = "and" if both else "but"
        thought = thoughts[0] if fits(metadata, lines) else thoughts[1]
        return f"{first.words(metadata, lines)}, {link} {second.words(metadata, lines)}. {thought}"

    needs = (f"view_factors.{first.factor}", f"view_factors.{second.factor}")
    return Rule(subtype, needs, the_image, answer, seen, phrasings)


def _exclusion(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return next(name for name in about.values() if not metadata.objects.get(name, 0))


def _seen_exclusion(metadata: Metadata, about: About, lines: Thresholds) -> str:
    looks = [f"I look for {a_or_an(name)} and see {_found(metadata, name)}." for name in about.values()]
    return " ".join(looks)


def _found(metadata: Metadata, name: str) -> str:
    count = metadata.objects.get(name, 0)
    return counted(name, count) if count else "none"


def _count(metadata: Metadata, name: str) -> int:
    return metadata.objects.get(name, 0)


def _more_people(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(_count(metadata, "person") > _count(metadata, "car"))


def _which_is_more(metadata: Metadata, about: About, lines: Thresholds) -> str | None:
    people, cars = _count(metadata, "person"), _count(metadata, "car")
    return None if people == cars else "people" if people > cars else "cars"


def _seen_more(metadata: Metadata, about: About, lines: Thresholds) -> str:
    people, cars = _count(metadata, "person"), _count(metadata, "car")
    end = "There are as many of one as of the other." if people == cars else (
        f"Of the {'people' if people > cars else 'cars'} there are more."
    )  # fmt: skip
    return f"First I count {counted('person', people)}, then {counted('car', cars)}. {end}"


def _crowded(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(_count(metadata, "person") + lines.added_people >= lines.crowd)


def _seen_crowd(metadata: Metadata, about: About, lines: Thresholds) -> str:
    people = _count(metadata, "person")
    together = people + lines.added_people
    end = "and they fill the scene" if together >= lines.crowd else "and they are still few"
    return f"I count {counted('person', people)}. With those who come along it makes {number(together)}, {end}."


def _buildings_matter(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(metadata.view_factors["building"] > lines.opens_up_share)


def _seen_buildings(metadata: Metadata, about: About, lines: Thresholds) -> str:
    if metadata.view_factors["building"] > lines.opens_up_share:
        return "Buildings stand over much of the view. I take them away in thought, and a wide gap opens."
    return "Buildings stand over little of the view. I take them away in thought, and hardly any gap opens."


def _sky_matters(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(metadata.view_factors["sky"] > lines.recoloured_share)


def _seen_sky(metadata: Metadata, about: About, lines: Thresholds) -> str:
    if metadata.view_factors["sky"] > lines.recoloured_share:
        return (
            "The sky is a large part of what I see. I paint it anew in thought, and the whole picture looks different."
        )
    return (
        "The sky is not a large part of what I see. I paint it anew in thought, and most of the picture stays as it is."
    )


def _bus_and_people(metadata: Metadata) -> bool:
    return _count(metadata, "bus") > 0 and _count(metadata, "person") > 0


def _could_hide(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(_bus_and_people(metadata))


def _seen_hiding(metadata: Metadata, about: About, lines: Thresholds) -> str:
    buses, people = (counted(name, _count(metadata, name)) for name in ("bus", "person"))
    end = (
        "On its way it may pass in front of somebody."
        if _bus_and_people(metadata)
        else "Nothing of the kind can happen without the one or the other."
    )
    return f"I look for what could move, and find {buses}. I look for who is about, and find {people}. {end}"


COMPOSITIONAL = (
    ABSENCE,
    SPATIAL_REFUTE,
    _wrong_to_say(
        "negation.conjunction",
        _GREEN,
        _OPEN,
        ("Green under an open sky describes it.", "Green under an open sky does not describe it."),
        (
            "Is 'green, under an open sky' wrong here?",
            "Would it be a mistake to speak of a green and open street?",
            "Is it false that this place is both green and open?",
        ),
    ),
    Rule(
        "negation.exclusion_choice",
        needs=("objects",),
        about=three_less_one,
        answer=_exclusion,
        seen=_seen_exclusion,
        phrasings=(
            "Which of these is missing: {options}?",
            "Which one is not in the picture: {options}?",
            "What does the scene lack: {options}?",
        ),
    ),
    _wrong_to_say(
        "negation.composite_conjunction_1",
        _LEAFY,
        _BUILT_UP,
        ("Leafy and built-up at once fits.", "Leafy and built-up at once does not fit."),
        (
            "Is 'leafy and built-up at once' wrong here?",
            "Would it be a mistake to call this place leafy and built-up?",
            "Is it false that greenery and buildings both take a large area?",
        ),
    ),
    _wrong_to_say(
        "negation.composite_conjunction_2",
        _OPEN_SKY,
        _LITTLE_GREEN,
        ("A wide sky over little green fits.", "A wide sky over little green does not fit."),
        (
            "Is 'a wide sky over little green' wrong here?",
            "Would it be a mistake to speak of a wide sky and hardly any plants?",
            "Is it false that the sky is wide while greenery is rare?",
        ),
    ),
    _wrong_to_say(
        "negation.composite_conjunction_3",
        _LOW_RISE,
        _CLOSED_SKY,
        ("Low houses under a narrow sky fits.", "Low houses under a narrow sky does not fit."),
        (
            "Is 'low houses under a narrow sky' wrong here?",
            "Would it be a mistake to speak of low houses and little sky?",
            "Is it false that the buildings are low and yet the sky is hemmed in?",
        ),
    ),
    Rule(
        "multi_hop.count_compare",
        needs=("objects",),
        about=people_and("car"),
        answer=_more_people,
        seen=_seen_more,
        phrasings=(
            "Do the people outnumber the cars?",
            "Are people more numerous than cars here?",
            "Is the number of people larger than that of cars?",
        ),
    ),
    Rule(
        "multi_hop.which_is_more",
        needs=("objects",),
        about=people_and("car"),
        answer=_which_is_more,
        seen=_seen_more,
        phrasings=(
            "Which are there more of, people or cars?",
            "Which are more numerous, cars or people?",
            "People or cars: of which does one see more?",
            "Cars or people: which group is the larger?",
        ),
    ),
    Rule(
        "counterfactual.count_perturbation",
        needs=("objects",),
        about=people_and(),
        answer=_crowded,
        seen=_seen_crowd,
        phrasings=(
            "With {added}, would this be a crowd?",
            "Suppose {added} came along: would it be crowded?",
            "Would {added} turn this into a crowded street?",
        ),
    ),
    Rule(
        "counterfactual.absence_viewfactor",
        needs=("view_factors.building",),
        about=the_image,
        answer=_buildings_matter,
        seen=_seen_buildings,
        phrasings=(
            "Without its buildings, would the view be much more open?",
            "If the buildings were gone, would a wide gap open?",
            "Suppose nobody had built here: would far more lie open to view?",
        ),
    ),
    Rule(
        "counterfactual.attribute_substitution",
        needs=("view_factors.sky",),
        about=the_image,
        answer=_sky_matters,
        seen=_seen_sky,
        phrasings=(
            "If the sky had another colour, would the picture change a lot?",
            "Suppose the sky turned red: would the whole look different?",
            "Would a night sky in place of this one change most of the impression?",
        ),
    ),
    Rule(
        "counterfactual.occlusion_movement",
        needs=("objects",),
        about=people_and("bus"),
        answer=_could_hide,
        seen=_seen_hiding,
        phrasings=(
            "Could a bus of this scene hide somebody if it moved?",
            "If the traffic rolled on, might a bus cover people up?",
            "Is there a bus that could come between us and people here?",
        ),
    ),
)
