"""Questions about how far away things are, and which is before or behind which."""

from __future__ import annotations

from urbanvlm.dataset.rules.ask import objects_of, one_before_another, one_behind_another, the_image
from urbanvlm.dataset.rules.rule import About, Rule
from urbanvlm.dataset.rules.words import a_or_an, plural, yes_no
from urbanvlm.experiment import Thresholds
from urbanvlm.records import Metadata


def _varies(metadata: Metadata, lines: Thresholds) -> bool:
    return metadata.depth_range > lines.moderate_depth_m


def _complexity(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return "Complex" if _varies(metadata, lines) else "Simple"


def _variation(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(_varies(metadata, lines))


def _label(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return "high" if metadata.depth_range > lines.high_depth_m else "moderate" if _varies(metadata, lines) else "low"


def _seen_reach(metadata: Metadata, about: About, lines: Thresholds) -> str:
    start = "I compare what stands near with what lies far off."
    if metadata.depth_range > lines.high_depth_m:
        return f"{start} The view runs a long way down the street, past one thing after another, before it ends."
    if _varies(metadata, lines):
        return f"{start} The view opens up for a fair way, with things at several distances, until something closes it."
    return f"{start} The view is closed soon, and all that is in it lies about equally far away."


def _mean(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return f"{metadata.depth_per_class[about['object']]:.2f}"


def _seen_mean(metadata: Metadata, about: About, lines: Thresholds) -> str:
    things = plural(about["object"])
    return (
        f"I find the {things} and go over all that shows of them, near and far. "
        f"On average it is {_mean(metadata, about, lines)} metres away."
    )


def _closest(metadata: Metadata, about: About, lines: Thresholds) -> str | None:
    return metadata.closest_object


def _seen_closest(metadata: Metadata, about: About, lines: Thresholds) -> str:
    closest = metadata.closest_object or ""
    others = [name for name, count in metadata.objects.items() if count and name != closest]
    behind = f" The rest, such as {a_or_an(others[0])}, is farther away." if others else ""
    return f"I start at my feet and look outwards. What I meet first is {a_or_an(closest)}.{behind}"


def _in_foreground(metadata: Metadata, about: About, lines: Thresholds) -> str | None:
    flag = metadata.foreground.get(about["object"])
    return None if flag is None else yes_no(flag)


def _seen_foreground(metadata: Metadata, about: About, lines: Thresholds) -> str:
    name = about["object"]
    near = "is only a few steps away" if metadata.foreground[name] else "keeps some distance from me"
    return f"I look for the {name} that comes nearest. It {near}."


def _in_background(metadata: Metadata, about: About, lines: Thresholds) -> str | None:
    flag = metadata.background.get(about["object"])
    return None if flag is None else yes_no(flag)


def _seen_background(metadata: Metadata, about: About, lines: Thresholds) -> str:
    name = about["object"]
    far = "lies well down the street" if metadata.background[name] else "is still close by"
    return f"I look for the {name} that reaches farthest from me. It {far}."


def _hidden(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(_occluded(metadata, about))


def _occluded(metadata: Metadata, about: About) -> bool:
    return metadata.occlusion_pairs[f"{about['object1']}|{about['object2']}"]


def _seen_hidden(metadata: Metadata, about: About, lines: Thresholds) -> str:
    behind, before = about["object1"], about["object2"]
    end = (
        f"One of them breaks off where {a_or_an(before)} stands before it."
        if _occluded(metadata, about)
        else f"None of them breaks off where {a_or_an(before)} stands."
    )
    return f"I follow the outlines of the {plural(behind)}. {end}"


def _nearer(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(metadata.depth_order[about["object1"]] < metadata.depth_order[about["object2"]])


def _not_nearer(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(metadata.depth_order[about["object1"]] >= metadata.depth_order[about["object2"]])


def _seen_order(metadata: Metadata, about: About, lines: Thresholds) -> str:
    one, other = about["object1"], about["object2"]
    depth, other_depth = metadata.depth_order[one], metadata.depth_order[other]
    if depth == other_depth:
        end = "On the whole they are equally far away."
    else:
        first, last = (one, other) if depth < other_depth else (other, one)
        end = f"On the whole I reach the {plural(first)} first and the {plural(last)} after them."
    return f"I walk down the street in my mind, past the {plural(one)} and the {plural(other)}. {end}"


DEPTH = (
    Rule(
        "depth.range",
        needs=("depth_stats.range",),
        about=the_image,
        answer=_complexity,
        seen=_seen_reach,
        phrasings=(
            "Is the depth of the scene complex or simple?",
            "Simple or complex: how is the depth here?",
            "Would you call the depth in view complex, or simple?",
            "What is the depth of this picture, simple or complex?",
        ),
    ),
    Rule(
        "depth.variation",
        needs=("depth_stats.range",),
        about=the_image,
        answer=_variation,
        seen=_seen_reach,
        phrasings=(
            "Does depth vary much in the scene?",
            "Is there a large spread of depth in view?",
            "Do things here stand at widely different distances?",
        ),
    ),
    Rule(
        "depth.range.label",
        needs=("depth_stats.range",),
        about=the_image,
        answer=_label,
        seen=_seen_reach,
        phrasings=(
            "How large is the depth range of the scene?",
            "How deep is the view?",
            "What depth range does the picture have?",
        ),
    ),
    Rule(
        "depth.average_per_object",
        needs=("depth_per_class",),
        about=objects_of("depth_per_class"),
        answer=_mean,
        seen=_seen_mean,
        phrasings=(
            "How far away are the {objects} on average?",
            "What is the mean distance of the {objects} in metres?",
            "At which average depth are the {objects}?",
        ),
    ),
    Rule(
        "depth.closest_object",
        needs=("depth_stats.closest_object",),
        about=the_image,
        answer=_closest,
        seen=_seen_closest,
        phrasings=(
            "Which object is nearest to the viewer?",
            "What is the nearest object?",
            "Of all objects here, which one comes closest?",
        ),
    ),
    Rule(
        "depth.foreground_presence",
        needs=("depth_per_class.<class>_foreground",),
        about=objects_of("foreground"),
        answer=_in_foreground,
        seen=_seen_foreground,
        phrasings=(
            "Does {an_object} show in the foreground?",
            "Is any {object} close to the camera?",
            "Is there {an_object} right in front of the viewer?",
        ),
    ),
    Rule(
        "depth.background_presence",
        needs=("depth_per_class.<class>_background",),
        about=objects_of("background"),
        answer=_in_background,
        seen=_seen_background,
        phrasings=(
            "Does {an_object} show in the background?",
            "Is any {object} far from the camera?",
            "Is there {an_object} well away from the viewer?",
        ),
    ),
    Rule(
        "occlusion.binary",
        needs=("occlusion_pairs",),
        about=one_behind_another,
        answer=_hidden,
        seen=_seen_hidden,
        phrasings=(
            "Is {an_object1} partly hidden behind {an_object2}?",
            "Does {an_object2} cover a part of {an_object1}?",
            "Is some of {an_object1} out of sight because {an_object2} is in front?",
        ),
    ),
    Rule(
        "spatial.relation",
        needs=("depth_order",),
        about=one_before_another,
        answer=_nearer,
        seen=_seen_order,
        phrasings=(
            "Are the {objects1} nearer than the {objects2}?",
            "Do the {objects1} stand in front of the {objects2}?",
            "Does one come to the {objects1} before the {objects2}?",
        ),
    ),
)

SPATIAL_REFUTE = Rule(
    "negation.spatial_refute",
    needs=("depth_order",),
    about=one_before_another,
    answer=_not_nearer,
    seen=_seen_order,
    phrasings=(
        "Is it wrong that the {objects1} are nearer than the {objects2}?",
        "Would it be false to put the {objects1} in front of the {objects2}?",
        "Is it untrue that one comes to the {objects1} before the {objects2}?",
    ),
)
