"""Is a container image whole? Imports what is in it and trains a tiny model for one step.

`python3 /opt/urbanvlm/selftest.py`, inside: on the CPU, without a network, without a file outside the temporary folder.
It ends with one line on what was tested, or with the traceback of what failed.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections import defaultdict
from pathlib import Path

MODULES = (
    *("embreex", "matplotlib.pyplot", "numpy", "PIL.Image", "psutil", "pydantic", "rich", "safetensors.torch"),
    *("scipy.stats", "sklearn.datasets", "submitit", "tensorboard", "tokenizers", "torch", "trimesh", "yaml"),
    *(f"transformers.models.{family}.modeling_{family}" for family in ("blip_2", "instructblip", "llava")),
    *("torch.utils.tensorboard", "peft"),
)
COMPILED = ("deepspeed.ops.adam.cpu_adam_op", "deepspeed.ops.adam.fused_adam_op")
"""what install.sh has compiled of DeepSpeed where there is CUDA"""


def main() -> None:
    # As in urbanvlm/runtime/process_group.py; one process meets nobody.
    os.environ.update(
        CUDA_VISIBLE_DEVICES="", DS_ACCELERATOR="cpu", GLOO_SOCKET_IFNAME="lo", TORCHDYNAMO_DISABLE="1",
        RANK="0", LOCAL_RANK="0", WORLD_SIZE="1",
    )  # fmt: skip
    warnings.simplefilter("ignore")  # of libraries to each other
    import torch

    is_cuda = torch.version.cuda is not None
    for name in (*MODULES, *(COMPILED if is_cuda else ())):
        check_origin(name)
    if is_cuda:
        check_compiled()
    check_facts(is_cuda)
    before, after = losses_around_a_step()
    if not after < before:
        raise SystemExit(f"selftest: a step of training took the loss from {before} to {after}")
    print(f"selftest: torch {torch.__version__}, one step of training: loss {before:.3f} -> {after:.3f}")


def check_origin(name: str) -> None:
    """Import a module; it must be the image's own, not one of the host's home."""
    file = importlib.import_module(name).__file__
    if file is None or not Path(file).is_relative_to(sys.prefix):
        raise SystemExit(f"selftest: {name} comes from {file}, not from {sys.prefix}")


def check_compiled() -> None:
    """Built where no GPU is in sight, DeepSpeed's operators may be those for CPUs, under the same names."""
    from deepspeed.git_version_info import accelerator_name

    if accelerator_name != "cuda":
        raise SystemExit(f"selftest: DeepSpeed was built for {accelerator_name}, not for cuda")


def check_facts(is_cuda: bool) -> None:
    """What the image says of itself fits; while it is being built it says nothing yet."""
    file = os.environ.get("URBANVLM_IMAGE")
    if file is None:
        return
    flavour = json.loads(Path(file).read_text(encoding="utf-8"))["flavour"]
    if is_cuda != (flavour == "cuda"):
        raise SystemExit(f"selftest: {file} says {flavour}, but torch is the other build")


def losses_around_a_step() -> tuple[float, float]:
    """The loss of a LLaVA of a few thousand weights before and after LoRA and DeepSpeed have trained it for a step."""
    import deepspeed
    import peft
    import torch
    import torch.distributed as dist
    import transformers

    torch.manual_seed(0)
    tiny = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(image_size=28, patch_size=14, projection_dim=32, **tiny),
        text_config=transformers.LlamaConfig(vocab_size=64, num_key_value_heads=2, **tiny),
        image_token_index=63,
    )
    model = transformers.LlavaForConditionalGeneration(config)
    model = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj", "v_proj"], r=4))
    ids = torch.tensor([[1, *[63] * 4, 5, 6, 7, 8, 2]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.rand(1, 3, 28, 28)}

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    deepspeed.ops.__compatible_ops__ = defaultdict(bool)
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": {"stage": 2},
            "zero_allow_untested_optimizer": True,
        },
        dist_init_required=False,
    )
    loss = engine(**batch, labels=ids.where(ids != 63, -100)).loss
    engine.backward(loss)
    engine.step()
    with torch.no_grad():
        after = engine(**batch, labels=ids.where(ids != 63, -100)).loss
    dist.destroy_process_group()
    return loss.item(), after.item()


if __name__ == "__main__":
    main()
