"""DeepSpeed's engine: its configuration from the experiment, its making, and what a step asks of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from urbanvlm.errors import UserError
from urbanvlm.experiment import Train

BUCKET_ELEMENTS = 50_000_000
"""most gradient elements reduced at once: 200 MB in fp32, a tenth of DeepSpeed's default"""


def learning_rate(train: Train, step: int, total_steps: int) -> float:
    """Rate of optimizer step `step`, counted from 0.

    Warm-up rises linearly and reaches the peak with its last step; then the rate stays, or follows half a cosine down
    towards 0 (Loshchilov & Hutter 2017, arXiv 1608.03983, one cycle).
    """
    if step < train.warmup_steps:
        return train.learning_rate * (step + 1) / train.warmup_steps
    if train.schedule == "constant":
        return train.learning_rate
    done = (step - train.warmup_steps) / max(1, total_steps - train.warmup_steps)
    return train.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def deepspeed_config(train: Train, precision: str, trainable_elements: int, on_gpu: bool) -> dict[str, Any]:
    """DeepSpeed's JSON as a value. The optimizer is ours, so nothing is compiled. Raises UserError."""
    bucket = max(1, min(BUCKET_ELEMENTS, trainable_elements))
    return {
        "train_batch_size": train.train_batch_size,
        "train_micro_batch_size_per_gpu": train.micro_batch_size,
        "gradient_accumulation_steps": train.gradient_accumulation_steps,
        "gradient_clipping": train.max_grad_norm,
        "bf16": {"enabled": precision == "bf16"},
        "fp16": {"enabled": precision == "fp16"},
        "zero_optimization": {
            "stage": train.zero_stage,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
            "stage3_prefetch_bucket_size": bucket,
            "overlap_comm": on_gpu,
        },
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
        "checkpoint": {"tag_validation": "Ignore"},
    }


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters for the optimizer: matrices decay; biases and norms, which are vectors, do not."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("no parameter is trainable")
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_engine(model: nn.Module, train: Train, precision: str, device: torch.device) -> Any:
    """A DeepSpeed engine around the model, with torch's AdamW; the process group must exist.

    Raises UserError where this machine cannot train in that precision.
    """
    import deepspeed
    from deepspeed.accelerator import get_accelerator

    supported = {"bf16": get_accelerator().is_bf16_supported, "fp16": get_accelerator().is_fp16_supported}
    if precision in supported and not supported[precision]():
        raise UserError("models.N.precision", f"this machine cannot train in {precision}", "use another precision")
    elements = sum(p.numel() for p in model.parameters() if p.requires_grad)
    config = deepspeed_config(train, precision, elements, device.type == "cuda")
    groups = parameter_groups(model, train.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=train.learning_rate, betas=train.betas, fused=True)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config, dist_init_required=False)
    return engine


def set_learning_rate(engine: Any, rate: float) -> None:
    for group in engine.optimizer.param_groups:
        group["lr"] = rate


def apply_gradients(engine: Any) -> float:
    """Clip, update, clear: the end of an optimizer step. Returns the norm before clipping, of all ranks' gradient.

    At stage 0, where every rank holds all of the gradient, DeepSpeed reports no norm; -1 is its word for infinite.
    """
    norm = None
    if engine.zero_optimization_stage() == 0:
        norm = torch.nn.utils.get_total_norm(p.grad for p in engine.module.parameters() if p.grad is not None)
    engine.step()
    reported = float(engine.get_global_grad_norm() if norm is None else norm)
    return reported if reported >= 0 else math.inf


@contextmanager
def whole_weights(engine: Any, parameters: list[nn.Parameter]) -> Iterator[None]:
    """Inside, these parameters are whole on every rank; under ZeRO-3 they are else split, each rank's shape (0,)."""
    import deepspeed

    with deepspeed.zero.GatheredParameters(parameters, enabled=engine.zero_optimization_stage() == 3):
        yield
