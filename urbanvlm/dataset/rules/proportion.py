"""Questions about how much of the picture a view factor fills."""

from __future__ import annotations

from urbanvlm.dataset.rules.ask import each_factor
from urbanvlm.dataset.rules.rule import About, Rule
from urbanvlm.dataset.rules.words import amount, yes_no
from urbanvlm.experiment import Thresholds
from urbanvlm.records import Metadata


def _share(metadata: Metadata, about: About) -> float:
    return metadata.view_factors[about["factor"]]


def _dominates(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(_share(metadata, about) > lines.dominant_share)


def _seen_dominance(metadata: Metadata, about: About, lines: Thresholds) -> str:
    words = amount(
        _share(metadata, about),
        lines.dominant_share,
        ("next to nothing", "a small part", "a fair part, though not the bulk"),
        ("the bulk", "nearly all"),
    )
    return f"I look at what fills the picture. {about['factor'].capitalize()} makes up {words} of it."


def _sparse(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(_share(metadata, about) <= lines.sparse_share)


def _seen_sparsity(metadata: Metadata, about: About, lines: Thresholds) -> str:
    words = amount(
        _share(metadata, about),
        lines.sparse_share,
        ("next to nothing", "a sliver", "only a small part"),
        ("a good part", "a large part", "nearly all"),
    )
    return f"I search the picture for {about['factor']}. It covers {words} of the view."


def _scalar(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return f"{_share(metadata, about):.2f}"


def _seen_scalar(metadata: Metadata, about: About, lines: Thresholds) -> str:
    pieces = round(100 * float(_scalar(metadata, about, lines)))
    return f"I cut the picture into a hundred pieces of one size. {pieces} of them show {about['factor']}."


PROPORTION = (
    Rule(
        "viewfactor.dominance",
        needs=("view_factors",),
        about=each_factor,
        answer=_dominates,
        seen=_seen_dominance,
        phrasings=(
            "Does {factor} dominate the scene?",
            "Is most of the picture {factor}?",
            "Does {factor} fill the bulk of the view?",
        ),
    ),
    Rule(
        "viewfactor.sparsity",
        needs=("view_factors",),
        about=each_factor,
        answer=_sparse,
        seen=_seen_sparsity,
        phrasings=(
            "Is {factor} sparse in the scene?",
            "Is there only little {factor} in view?",
            "Does {factor} take up just a small part of the picture?",
        ),
    ),
    Rule(
        "viewfactor.scalar",
        needs=("view_factors",),
        about=each_factor,
        answer=_scalar,
        seen=_seen_scalar,
        phrasings=(
            "What share of the picture is {factor}?",
            "How much of the view is {factor}?",
            "Which fraction of the scene does {factor} cover?",
        ),
    ),
)
