"""What the study published, to stand beside runs of the same checkpoints: its gains of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping

from urbanvlm.experiment import Experiment, Model

# Ro, Kim, Yoon, arXiv 2508.21565: (LLaVA-1.5, InstructBLIP, BLIP-2), fine-tuned against zero-shot, in percent.
_PERCENT: Mapping[str, tuple[float, float, float]] = {
    "proportion.binary": (-25.4, -76.6, 169.7),
    "proportion.scalar": (-22.2, -28.6, 47.6),
    "depth.categorical": (-19.4, 14.8, 590.9),
    "depth.closest_object": (-50.0, -54.5, 509.1),
    "depth.binary": (15.9, -11.1, -10.1),
    "layout.binary": (-4.9, -22.4, -1.7),
    "layout.top_entity": (66.7, -33.3, 1350.0),
    "object.count": (-24.8, 6.5, 58.5),
    "object.presence": (2.1, 4.2, 1.0),
    "object.cooccurrence": (-9.1, -4.0, 9.9),
    "compositional.negation": (132.3, -24.5, 75.0),
    "compositional.counterfactual": (-5.7, 29.7, 63.6),
    "compositional.multi_hop": (11.1, -10.0, 20.9),
}
_MODELS = {
    "llava-hf/llava-1.5-7b-hf": ("LLaVA-1.5", 0),
    "Salesforce/instructblip-flan-t5-xl": ("InstructBLIP", 1),
    "Salesforce/blip2-flan-t5-xl": ("BLIP-2", 2),
}
"""hub name -> (the study's name, column)"""


def study_name(model: Model) -> str | None:
    """What the study calls this checkpoint; None for any other, such as a tiny preset of the same family."""
    return _MODELS.get(model.checkpoint, (None, 0))[0]


def published_gains(model: Model) -> Mapping[str, float]:
    """metric -> gain as a share, 0.5 for 50 %; empty where the study has no such model."""
    if model.checkpoint not in _MODELS:
        return {}
    column = _MODELS[model.checkpoint][1]
    return {metric: values[column] / 100 for metric, values in _PERCENT.items()}


def study_models(experiment: Experiment) -> dict[str, str]:
    """label -> the study's name, of the experiment's models that the study has."""
    return {model.label: name for model in experiment.models if (name := study_name(model))}
