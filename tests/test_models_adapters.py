"""Adapters are a checkpoint wherever one is named: with what they stand on, for answers and for more training."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from model_support import PROMPTS, TARGETS, pictures
from safetensors.torch import load_file, save_file
from torch import Tensor
from train_support import make_questions, make_run

from slurm.cluster import Cluster
from slurm.plan import make_plan
from urbanvlm.errors import UserError
from urbanvlm.experiment import Model, Train
from urbanvlm.models.adapters import chain_of
from urbanvlm.models.family import LoadedModel
from urbanvlm.models.registry import check_model, get_family
from urbanvlm.progress import Progress
from urbanvlm.run_folder import RunFolder
from urbanvlm.same_inputs import changed_inputs, note_inputs
from urbanvlm.train import export
from urbanvlm.train.loop import train

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def settings(rank: int | None) -> Train:
    lora = {"rank": rank, "alpha": 8, "dropout": 0.5} if rank else None
    return Train.model_validate({"max_steps": 1, "train_batch_size": 8, "micro_batch_size": 8, "lora": lora})


def model_of(folder: Path, family: str = "llava") -> Model:
    return Model(family=family, checkpoint=str(folder))


def save_whole(folder: Path, family: str = "llava", preset: str = "tiny", seed: int = 3) -> Path:
    made = get_family(family).load(preset, seed=seed)
    made.model.save_pretrained(folder)
    made.processor.save_pretrained(folder)
    return folder


def save_adapters(base: Path, folder: Path, rank: int = 2, seed: int = 0, family: str = "llava") -> LoadedModel:
    """Adapters that say something, written as training exports them; the model that they make of their base."""
    loaded = export.trainable_model(model_of(base, family), settings(rank), seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in loaded.model.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    export._write(loaded, model_of(base, family), folder)
    loaded.model.eval()
    return loaded


def logits(loaded: LoadedModel) -> Tensor:
    batch = loaded.family.encode_training(loaded, pictures(3), PROMPTS, TARGETS)
    with torch.no_grad():
        return loaded.model(**batch).logits


def same(one: LoadedModel, other: LoadedModel) -> None:
    torch.testing.assert_close(logits(one), logits(other), atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `base` and, standing on it, `adapters`."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_adapters(save_whole(folder / "base"), folder / "adapters")
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt; the adapters name their base from their own folder."""
    for name in ("base", "adapters"):
        shutil.copytree(made / name, tmp_path / name)
    rewrite(tmp_path / "adapters", base_model_name_or_path="../base")
    return tmp_path


def rewrite(folder: Path, **values: object) -> None:
    settings = json.loads((folder / CONFIG).read_text()) | values
    (folder / CONFIG).write_text(json.dumps(settings))


@pytest.mark.parametrize(("family", "preset"), [("blip2", "tiny-opt"), ("instructblip", "tiny"), ("llava", "tiny")])
def test_adapters_load_with_what_they_stand_on(family: str, preset: str, tmp_path: Path) -> None:
    base = save_whole(tmp_path / "base", family, preset)
    trained = save_adapters(base, tmp_path / "adapters", family=family)
    assert not (tmp_path / "adapters" / "config.json").exists()
    check_model(model_of(tmp_path / "adapters", family))
    read = get_family(family).load(str(tmp_path / "adapters"), seed=9)
    same(read, trained)
    assert not torch.allclose(logits(read), logits(get_family(family).load(str(base))), atol=1e-2)
    assert get_family(family).load(str(tmp_path / "adapters"), weights=False).model.device.type == "meta"
    assert read.model_id == str(tmp_path / "adapters") and not read.model.training
    batch = read.family.encode_prompts(read, pictures(3), PROMPTS)
    assert read.family.generate(read, batch, 3) == trained.family.generate(trained, batch, 3)


def test_new_adapters_stand_on_those_that_the_checkpoint_has(own: Path) -> None:
    below = get_family("llava").load(str(own / "adapters"))
    again = export.trainable_model(model_of(own / "adapters"), settings(3), 1)
    again.model.train()  # the dropout of the old adapters, which nobody trains, would change what they say
    same(again, below)
    learning = {name for name, parameter in again.model.named_parameters() if parameter.requires_grad}
    assert learning and all("lora_" in name and ".default." in name for name in learning)
    first = get_family("llava").load(str(own / "base"))
    alone = export.trainable_model(model_of(own / "base"), settings(3), 1)
    assert len(learning) == sum(parameter.requires_grad for parameter in alone.model.parameters())

    trained = save_adapters(own / "adapters", own / "more", rank=3, seed=1)
    assert sorted(file.name for file in (own / "more").iterdir() if "adapter" in file.name) == [CONFIG, WEIGHTS]
    check_model(model_of(own / "more"))
    for read in (
        get_family("llava").load(str(own / "more")),
        export.load_export(model_of(own / "adapters"), own / "more"),
    ):
        same(read, trained)
    sums = [logits(one) for one in (first, below, trained)]
    assert not any(torch.allclose(one, other, atol=1e-2) for one, other in pairwise(sums))


def test_training_of_all_weights_goes_on_from_the_sum(own: Path) -> None:
    whole = export.trainable_model(model_of(own / "adapters"), settings(None), 0)
    assert not hasattr(whole.model, "peft_config")
    below, base = (get_family("llava").load(str(own / name)) for name in ("adapters", "base"))
    assert (logits(whole) - logits(below)).abs().max() < 0.01 * (logits(base) - logits(below)).abs().max()
    frozen = {id(parameter) for parameter in whole.family.vision_parameters(whole.model)}
    freezes = settings(None).freeze_vision
    assert all(p.requires_grad != (freezes and id(p) in frozen) for p in whole.model.parameters())


def test_a_run_trains_on_adapters_and_exports_what_loads_again(own: Path, tmp_path: Path) -> None:
    make_questions(tmp_path / "questions", examples=16)
    lora = {"rank": 2, "alpha": 8, "dropout": 0.0}
    model = {"checkpoint": str(own / "adapters")}
    run = make_run(tmp_path / "run", tmp_path / "questions", model=model, max_steps=2, train_batch_size=4, lora=lora)
    train(run, run.experiment.models[0], 0, 0, 1, Progress(None, total=0, unit="steps"))
    exported = run.train("llava") / "export"
    after = export.load_export(run.experiment.models[0], exported)
    same(get_family("llava").load(str(exported)), after)
    assert not torch.equal(logits(get_family("llava").load(str(own / "adapters"))), logits(after))


def test_a_run_reads_binds_and_remembers_both_folders(own: Path, tmp_path: Path) -> None:
    make_questions(tmp_path / "questions", examples=8)
    run = make_run(tmp_path / "run", tmp_path / "questions", model={"checkpoint": str(own / "adapters")})
    reads = make_plan(run.experiment, Cluster(name="local", executor="local")).reads
    both = [str(own / "adapters"), str(own / "adapters" / "../base")]
    assert [name for name in reads if name.startswith(str(own)) and "questions" not in name] == both
    note_inputs(run.experiment, run)
    assert changed_inputs(run.experiment, RunFolder(run.path)) == ()
    (own / "base" / "config.json").write_text("{}")
    assert changed_inputs(run.experiment, run) == (f"{both[1]}/config.json",)


# ---- what is refused, and when


def another_base(own: Path) -> None:
    shutil.rmtree(own / "base")
    save_whole(own / "base", "blip2")


def wider_base(own: Path) -> None:
    """As if the adapters had been made for layers of another size."""
    weights = load_file(own / "adapters" / WEIGHTS)
    save_file({n: t.repeat(1, 2) if "lora_A" in n else t for n, t in weights.items()}, own / "adapters" / WEIGHTS)


PLANNED = {
    "another family's base": (another_base, ["stands on another one", "is a blip-2 model"]),
    "a base of another size": (wider_base, ["are of another model than the one they stand on", "there and not here"]),
    "no base": (lambda own: shutil.rmtree(own / "base"), ["stands on another one", "'../base': is no folder"]),
    "a base that is not whole": (lambda own: (own / "base/model.safetensors").unlink(), ["has no weights"]),
    "no name of a base": (lambda own: rewrite(own / "adapters", base_model_name_or_path=None), ["does not say what"]),
    "a preset": (lambda own: rewrite(own / "adapters", base_model_name_or_path="tiny"), ["stands on tiny"]),
    "themselves": (lambda own: rewrite(own / "adapters", base_model_name_or_path="../adapters"), ["on themselves"]),
    "another kind": (lambda own: rewrite(own / "adapters", peft_type="IA3"), ["of type IA3", "LORA"]),
    "pickles": (
        lambda own: (own / "adapters" / WEIGHTS).rename(own / "adapters" / "adapter_model.bin"),
        ["has no adapter_model.safetensors, only pickles"],
    ),
    "a cut file": (lambda own: (own / "adapters" / WEIGHTS).write_bytes(b"cut"), [WEIGHTS, "only its beginning"]),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANNED)
def test_a_plan_looks_at_adapters_and_at_what_they_stand_on(own: Path, case: str) -> None:
    spoil, words = PLANNED[case]
    spoil(own)
    with pytest.raises(UserError) as error:
        check_model(model_of(own / "adapters"))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("case", ["fewer", "more", "wider"])
def test_adapters_are_never_half_loaded(own: Path, case: str) -> None:
    file = own / "adapters" / WEIGHTS
    weights = load_file(file)
    name = next(iter(weights))
    if case == "fewer":
        del weights[name]
    elif case == "more":
        weights[name.replace("language_model", "vision_tower")] = weights[name].clone()
    else:
        weights[name] = torch.zeros(2, 7)
    save_file(weights, file)
    with pytest.raises(UserError, match="are of another model than the one they stand on"):
        get_family("llava").load(str(own / "adapters"))


def test_adapters_with_the_names_of_an_older_library_load(own: Path) -> None:
    """Transformers before 4.52 had LLaVA's parts at the top of the model."""
    trained = get_family("llava").load(str(own / "adapters"))
    weights = load_file(own / "adapters" / WEIGHTS)
    former = {
        name.replace("model.model.language_model.", "model.language_model.model."): weights[name] for name in weights
    }
    assert former.keys().isdisjoint(weights)
    save_file(former, own / "adapters" / WEIGHTS)
    rewrite(
        own / "adapters",
        target_modules=r"(.*\.)?language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)",
    )
    check_model(model_of(own / "adapters"))
    same(get_family("llava").load(str(own / "adapters")), trained)
    first = load_file(own / "adapters" / WEIGHTS)
    save_adapters(own / "adapters", own / "more", seed=1)
    assert load_file(own / "adapters" / WEIGHTS).keys() == first.keys()
    get_family("llava").load(str(own / "more"))


def test_a_base_that_cannot_be_looked_at_is_one_line(own: Path) -> None:
    rewrite(own / "adapters", base_model_name_or_path="a" * 5000)
    with pytest.raises(UserError, match=r"adapter_config\.json: stands on 'aaa.* cannot be looked at \(File name too"):
        check_model(model_of(own / "adapters"))
    with pytest.raises(UserError, match=r"checkpoint 'aaa.* cannot be looked at"):
        chain_of("a" * 5000, None)


def test_a_configuration_of_lists_in_each_other_is_one_line(own: Path) -> None:
    (own / "base" / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"config\.json.*cannot be read"):
        check_model(model_of(own / "base"))
