from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from model_support import KINDS, PROMPTS, TARGETS, fit, half_bright, pictures, shared
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoProcessor

from urbanvlm.errors import UserError
from urbanvlm.experiment import Lora
from urbanvlm.models.family import LoadedModel, unwrap
from urbanvlm.models.lora import add_lora, merge_lora
from urbanvlm.models.registry import get_family

all_kinds = pytest.mark.parametrize(("family", "preset"), KINDS)
LONG = "Is there a tree? " * 200


def training_batch(loaded: LoadedModel, targets: tuple[str, ...] = TARGETS, seed: int = 0) -> dict[str, Tensor]:
    return loaded.family.encode_training(loaded, pictures(3, seed), PROMPTS, targets)


def is_t5(loaded: LoadedModel) -> bool:
    return bool(loaded.model.config.text_config.model_type == "t5")


# ---- what is learnt


@all_kinds
def test_labels_are_the_target_and_the_end_and_nothing_else(family: str, preset: str) -> None:
    loaded = shared(family, preset)
    tokenizer = loaded.processor.tokenizer
    end = "<0x0A>" if preset == "tiny-opt" else "</s>"
    for row, target in zip(training_batch(loaded)["labels"], TARGETS, strict=True):
        learnt = row[row != -100].tolist()
        assert tokenizer.convert_ids_to_tokens(learnt[-1]) == end
        assert tokenizer.decode(learnt[:-1]).strip() == target


@all_kinds
def test_the_loss_is_the_mean_over_the_target_tokens(family: str, preset: str) -> None:
    loaded = shared(family, preset)
    batch = training_batch(loaded)
    with torch.no_grad():
        out = loaded.model(**batch)
    logits, labels = out.logits, batch["labels"]
    if not is_t5(loaded):  # a decoder-only model predicts the next token of its own row
        logits, labels = logits[:, :-1], labels[:, 1:]
    chosen = labels != -100
    picked = logits[chosen].log_softmax(-1).gather(1, labels[chosen][:, None])
    torch.testing.assert_close(out.loss, -picked.mean())


@pytest.mark.parametrize(("family", "preset"), [kind for kind in KINDS if kind[1] != "tiny" or kind[0] == "llava"])
def test_logits_that_nothing_is_learnt_from_are_left_out(family: str, preset: str) -> None:
    """With a real vocabulary of 32,000 those of the image and the prompt would take more memory than the answer's."""
    loaded = shared(family, preset)
    batch = training_batch(loaded)
    width, kept = batch["input_ids"].shape[1], batch["labels"].shape[1]
    whole = dict(batch, labels=torch.nn.functional.pad(batch["labels"], (width - kept, 0), value=-100))
    del whole["logits_to_keep"]
    with torch.no_grad():
        out, reference = loaded.model(**batch), loaded.model(**whole)
    assert out.logits.shape[1] == kept < width
    torch.testing.assert_close(out.logits, reference.logits[:, -kept:])
    torch.testing.assert_close(out.loss, reference.loss)


@all_kinds
def test_nothing_the_model_reads_before_the_answer_depends_on_the_answer(family: str, preset: str) -> None:
    """InstructBLIP's own processor hands the answer to the Q-Former: teacher-forced 100 %, generated 50 %."""
    loaded = shared(family, preset)
    one, other = training_batch(loaded), training_batch(loaded, ("No", "right side", "3"))
    assert {name for name in one if name.startswith("qformer")} == {
        name for name in other if name.startswith("qformer")
    }
    for name in one.keys() - {"input_ids", "attention_mask", "labels", "logits_to_keep"}:
        assert torch.equal(one[name], other[name]), name
    if is_t5(loaded):
        assert torch.equal(one["input_ids"], other["input_ids"])
        return
    with torch.no_grad():
        first = [loaded.model(**batch).logits for batch in (one, other)]
    for row in range(3):
        start = int((one["labels"][row] != -100).nonzero()[0])
        torch.testing.assert_close(first[0][row, :start], first[1][row, :start])


def test_the_q_former_reads_the_prompt() -> None:
    loaded = shared("instructblip", "tiny-llama")
    batch = training_batch(loaded)
    for row, mask, prompt in zip(batch["qformer_input_ids"], batch["qformer_attention_mask"], PROMPTS, strict=True):
        assert loaded.processor.qformer_tokenizer.decode(row[mask == 1], skip_special_tokens=True) == prompt
    changed = dict(batch, qformer_input_ids=batch["qformer_input_ids"].flip(0))
    with torch.no_grad():
        assert not torch.allclose(loaded.model(**batch).logits, loaded.model(**changed).logits, atol=1e-3)


@all_kinds
def test_another_image_gives_other_logits(family: str, preset: str) -> None:
    loaded = shared(family, preset)
    with torch.no_grad():
        one, other = (loaded.model(**training_batch(loaded, seed=seed)).logits for seed in (0, 1))
    assert (one - other).abs().max() > 1e-2


@all_kinds
def test_a_target_is_one_line(family: str, preset: str) -> None:
    loaded = shared(family, preset)
    assert torch.equal(
        training_batch(loaded, ("I see a car.\n\nAnswer:  Yes",) * 3)["labels"],
        training_batch(loaded, ("I see a car. Answer: Yes",) * 3)["labels"],
    )


@all_kinds
def test_pixels_may_be_made_beforehand_and_one_by_one(family: str, preset: str) -> None:
    loaded = shared(family, preset)
    kept = torch.cat([loaded.family.pixels(loaded, [picture]) for picture in pictures(3)])
    batch = loaded.family.encode_training(loaded, kept, PROMPTS, TARGETS)
    assert kept.shape == (3, 3, 64, 64)
    assert kept.dtype == torch.float32
    assert torch.equal(batch["pixel_values"], training_batch(loaded)["pixel_values"])
    assert batch.keys() == training_batch(loaded).keys()


# ---- image tokens and lengths


@all_kinds
def test_every_row_has_a_place_for_each_part_of_the_image(family: str, preset: str) -> None:
    loaded = shared(family, preset)
    image = loaded.processor.tokenizer.convert_tokens_to_ids("<image>")
    counts = (loaded.family.encode_prompts(loaded, pictures(3), PROMPTS)["input_ids"] == image).sum(1)
    assert counts.tolist() == [16 if family == "llava" else 8] * 3


def test_a_llava_row_is_the_one_its_own_processor_makes() -> None:
    loaded = shared("llava", "tiny")
    ours = loaded.family.encode_prompts(loaded, pictures(1), PROMPTS[:1])
    text = f"USER: <image>\n{PROMPTS[0]} ASSISTANT:"
    theirs = loaded.processor(images=pictures(1), text=[text], return_tensors="pt")
    assert torch.equal(ours["input_ids"], theirs["input_ids"])
    assert torch.equal(ours["pixel_values"], theirs["pixel_values"])


@pytest.mark.parametrize(("family", "preset"), KINDS[:4])
def test_a_blip_row_is_the_one_its_own_processor_makes(family: str, preset: str) -> None:
    loaded = shared(family, preset)
    ours = loaded.family.encode_prompts(loaded, pictures(1), PROMPTS[:1])
    text = f"Question: {PROMPTS[0]} Answer:" if family == "blip2" else PROMPTS[0]
    theirs = loaded.processor(images=pictures(1), text=[text], return_tensors="pt")
    assert ours.keys() <= theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize(("family", "preset", "tokens"), [("blip2", "tiny-opt", 8), ("llava", "tiny", 16)])
def test_what_is_too_long_is_refused_and_never_cut(family: str, preset: str, tokens: int) -> None:
    loaded = shared(family, preset)
    with pytest.raises(UserError, match=rf"{tokens} image tokens.*the model reads 512"):
        loaded.family.encode_prompts(loaded, pictures(1), [LONG])
    with pytest.raises(UserError, match="the model reads 512"):
        loaded.family.encode_training(loaded, pictures(1), PROMPTS[:1], [LONG])
    with pytest.raises(UserError, match="500 of the answer"):
        loaded.family.check_lengths(loaded, PROMPTS, None, max_new_tokens=500)
    with pytest.raises(UserError, match="max_new_tokens"):
        loaded.family.generate(loaded, loaded.family.encode_prompts(loaded, pictures(1), PROMPTS[:1]), 500)
    loaded.family.check_lengths(loaded, PROMPTS, TARGETS)


def test_t5_has_no_limit_but_the_q_former_has() -> None:
    loaded = shared("blip2", "tiny")
    batch = loaded.family.encode_training(loaded, pictures(1), [LONG], ["Yes"])
    assert batch["input_ids"].shape[1] > 1000
    assert torch.isfinite(loaded.model(**batch).loss)
    asking = shared("instructblip", "tiny")
    with pytest.raises(UserError, match="the Q-Former reads 512"):
        asking.family.check_lengths(asking, [LONG], None)


@all_kinds
def test_a_prompt_cannot_bring_image_tokens_of_its_own(family: str, preset: str) -> None:
    loaded = shared(family, preset)
    with pytest.raises(UserError, match="contains the image token"):
        loaded.family.encode_prompts(loaded, pictures(1), ["What is <image>?"])


# ---- generation


@all_kinds
def test_a_batch_of_unequal_prompts_answers_as_one_by_one(family: str, preset: str) -> None:
    loaded = shared(family, preset)
    images = pictures(3)
    together = loaded.family.generate(loaded, loaded.family.encode_prompts(loaded, images, PROMPTS), 8)
    alone = [
        loaded.family.generate(loaded, loaded.family.encode_prompts(loaded, [image], [prompt]), 8)[0]
        for image, prompt in zip(images, PROMPTS, strict=True)
    ]
    assert together == alone
    assert len(set(alone)) > 1


@all_kinds
def test_generation_is_greedy_and_returns_the_new_text_only(family: str, preset: str) -> None:
    """Against a loop of its own over full forward passes, without cache."""
    loaded = shared(family, preset)
    batch = loaded.family.encode_prompts(loaded, pictures(1), PROMPTS[:1])
    tokenizer, new = loaded.processor.tokenizer, []
    for _ in range(5):
        inputs = dict(batch)
        if is_t5(loaded):
            inputs["decoder_input_ids"] = torch.tensor([[tokenizer.pad_token_id, *new]])
        else:
            inputs["input_ids"] = torch.cat([batch["input_ids"], torch.tensor([new], dtype=torch.int64)], dim=1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.no_grad():
            new.append(int(loaded.model(**inputs).logits[0, -1].argmax()))
    assert loaded.family.generate(loaded, batch, 5) == [tokenizer.decode(new, skip_special_tokens=True).strip()]


@all_kinds
def test_the_checkpoints_own_generation_settings_have_no_say(family: str, preset: str) -> None:
    loaded = get_family(family).load(preset)
    settings = loaded.model.generation_config
    assert (settings.do_sample, settings.num_beams, settings.pad_token_id) == (False, 1, 0)
    end = loaded.processor.tokenizer.eos_token_id
    assert end in settings.eos_token_id
    inner = getattr(loaded.model, "language_model", loaded.model)
    assert inner.generation_config.eos_token_id == settings.eos_token_id
    assert len(settings.eos_token_id) == (2 if preset == "tiny-opt" else 1)


def test_a_wrong_eos_in_the_configuration_is_ignored_for_llama(tmp_path: Path) -> None:
    """As in instructblip-vicuna-7b, whose config.json names ids that its tokenizer uses otherwise."""
    made = get_family("instructblip").load("tiny-llama")
    made.model.config.text_config.eos_token_id = 7
    made.model.config.text_config.bos_token_id = 8
    save(made, tmp_path)
    loaded = get_family("instructblip").load(str(tmp_path))
    assert loaded.model.language_model.generation_config.eos_token_id == [2]
    labels = training_batch(loaded)["labels"]
    assert (labels == 2).sum() == 3


def save(loaded: LoadedModel, folder: Path) -> None:
    loaded.model.save_pretrained(folder)
    loaded.processor.save_pretrained(folder)


# ---- loading


@all_kinds
def test_a_saved_folder_loads_as_the_same_model(family: str, preset: str, tmp_path: Path) -> None:
    made = shared(family, preset)
    save(made, tmp_path)
    read = get_family(family).load(str(tmp_path), seed=77)
    assert [file.name for file in tmp_path.glob("*processor*")] == ["processor_config.json"]
    assert type(AutoProcessor.from_pretrained(tmp_path)) is type(made.processor)
    one, other = training_batch(made), training_batch(read)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    with torch.no_grad():
        assert torch.equal(made.model(**one).logits, read.model(**one).logits)
    second = tmp_path / "again"
    save(read, second)
    for file in ("tokenizer.json", "processor_config.json", "model.safetensors"):
        assert (tmp_path / file).read_bytes() == (second / file).read_bytes(), file


def test_an_untied_output_layer_of_flan_t5_survives_loading_and_saving(tmp_path: Path) -> None:
    made = get_family("blip2").load("tiny")
    save(made, tmp_path / "made")
    file = tmp_path / "made" / "model.safetensors"
    weights = load_file(file)
    own = torch.randn_like(weights["language_model.shared.weight"])
    save_file(weights | {"language_model.lm_head.weight": own}, file, metadata={"format": "pt"})
    read = get_family("blip2").load(str(tmp_path / "made"))
    save(read, tmp_path / "again")
    again = get_family("blip2").load(str(tmp_path / "again"))
    for loaded in (read, again):
        assert torch.equal(loaded.model.language_model.lm_head.weight, own)
        assert not torch.equal(loaded.model.language_model.shared.weight, own)
    batch = training_batch(read)
    with torch.no_grad():
        assert torch.equal(read.model(**batch).logits, again.model(**batch).logits)


def test_what_cannot_be_loaded_is_the_users_error(tmp_path: Path) -> None:
    llava = get_family("llava")
    with pytest.raises(UserError, match="cannot be loaded"):
        llava.load(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="cannot be loaded"):
        llava.load(str(tmp_path))
    save(shared("blip2", "tiny"), tmp_path)
    with pytest.raises(UserError, match="is a blip-2 model, which family llava does not load"):
        llava.load(str(tmp_path))
    with pytest.raises(UserError, match="known: fp32, bf16, fp16"):
        llava.load("tiny", precision="int8")


def test_missing_weights_are_not_filled_with_random_ones(tmp_path: Path) -> None:
    save(shared("llava", "tiny"), tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    lost = next(name for name in weights if "multi_modal_projector" in name)
    del weights[lost]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match="1 weights are missing"):
        get_family("llava").load(str(tmp_path))


def test_a_revision_without_an_image_token_is_refused(tmp_path: Path) -> None:
    made = get_family("blip2").load("tiny")
    made.model.config.image_token_index = None
    save(made, tmp_path)
    with pytest.raises(UserError, match="no image_token_index"):
        get_family("blip2").load(str(tmp_path))


def test_the_number_of_query_tokens_comes_from_the_model(tmp_path: Path) -> None:
    """A processor without it leaves the image out without a word."""
    made = get_family("blip2").load("tiny")
    made.processor.num_query_tokens = None
    save(made, tmp_path)
    assert get_family("blip2").load(str(tmp_path)).processor.num_query_tokens == 8


@all_kinds
def test_bf16_trains(family: str, preset: str, tmp_path: Path) -> None:
    loaded = get_family(family).load(preset, precision="bf16")
    assert loaded.model.dtype == torch.bfloat16
    loss = loaded.model(**training_batch(loaded)).loss
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("family", ["blip2", "instructblip"])
def test_t5_is_refused_in_fp16(family: str, tmp_path: Path) -> None:
    save(shared(family, "tiny"), tmp_path)
    for checkpoint in ("tiny", str(tmp_path)):
        with pytest.raises(UserError, match="overflows in fp16; set precision to bf16"):
            get_family(family).load(checkpoint, precision="fp16")


def test_llava_loads_in_fp16(tmp_path: Path) -> None:
    save(shared("llava", "tiny"), tmp_path)
    for checkpoint in ("tiny", str(tmp_path)):
        assert get_family("llava").load(checkpoint, precision="fp16").model.dtype == torch.float16


# ---- adapters and frozen parts

LANGUAGE_LAYERS = {
    "t5": {"q", "k", "v", "o", "wi_0", "wi_1", "wo"},
    "opt": {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"},
    "llama": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
}


@all_kinds
def test_adapters_sit_on_every_linear_layer_of_the_language_model_only(family: str, preset: str) -> None:
    plain = get_family(family).load(preset)
    wanted = LANGUAGE_LAYERS[plain.model.config.text_config.model_type]
    layers = {
        name: module
        for name, module in plain.model.named_modules()
        if "language_model." in name and name.rpartition(".")[2] in wanted
    }
    rank = 3
    expected = sum(rank * (layer.in_features + layer.out_features) for layer in layers.values())
    adapted = add_lora(plain, Lora(rank=rank, alpha=6, dropout=0.0))
    trained = {name: p.numel() for name, p in adapted.model.named_parameters() if p.requires_grad}
    assert sum(trained.values()) == expected > 0
    assert all("language_model." in name and ".lora_" in name for name in trained)
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trained} == wanted


@all_kinds
def test_adapters_start_at_nothing_generate_and_merge(family: str, preset: str) -> None:
    loaded = get_family(family).load(preset)
    batch = training_batch(loaded)
    with torch.no_grad():
        before = loaded.model(**batch).logits
        adapted = add_lora(loaded, Lora(rank=2, alpha=4, dropout=0.0))
        torch.testing.assert_close(adapted.model.eval()(**batch).logits, before)
        for name, parameter in adapted.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
        changed = adapted.model(**batch).logits
        assert not torch.allclose(changed, before, atol=1e-2)
        prompts = adapted.family.encode_prompts(adapted, pictures(3), PROMPTS)
        answers = adapted.family.generate(adapted, prompts, 4)
        merged = merge_lora(adapted)
        torch.testing.assert_close(merged.model(**batch).logits, changed, rtol=1e-3, atol=1e-3)
    assert not hasattr(merged.model, "peft_config")
    assert merged.family.generate(merged, prompts, 4) == answers


@all_kinds
def test_the_vision_parameters_are_the_tower_and_nothing_else(family: str, preset: str) -> None:
    loaded = shared(family, preset)
    tower = {id(parameter) for parameter in loaded.family.vision_parameters(loaded.model)}
    prefix = "model.vision_tower." if family == "llava" else "vision_model."
    assert tower == {id(p) for name, p in unwrap(loaded.model).named_parameters() if name.startswith(prefix)}
    assert tower


# ---- learning


def test_a_tiny_model_learns_where_the_light_is() -> None:
    """From pixels to generated words; a model that cannot see stays at one half."""
    loaded = get_family("blip2").load("tiny", seed=1)
    question = "On which side is the light?"
    fit(loaded, [(image, question, side) for image, side in half_bright(256, seed=1)], steps=60, batch=16)
    images, sides = zip(*half_bright(100, seed=2), strict=True)
    batch = loaded.family.encode_prompts(loaded, images, [question] * 100)
    answers = loaded.family.generate(loaded, batch, 4)
    right = sum(answer == side for answer, side in zip(answers, sides, strict=True))
    assert right >= 85


def test_copying_a_folder_is_enough_to_move_a_model(tmp_path: Path) -> None:
    save(shared("instructblip", "tiny"), tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert get_family("instructblip").load(str(tmp_path / "there")).model_id.endswith("there")
