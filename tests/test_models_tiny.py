from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dataset_support import many_metadata
from hypothesis import given
from hypothesis import strategies as st
from model_support import KINDS, shared

from urbanvlm.dataset.prompts import load_prompts
from urbanvlm.dataset.rules import drafts
from urbanvlm.dataset.taxonomy import DEPTH_LABELS, FACTORS, OBJECTS, SIDE_LABELS, SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.models.registry import FAMILIES, TINY_PRESETS, check_family, get_family
from urbanvlm.models.tiny import tiny_tokenizer
from urbanvlm.models.tiny_tokenizer import TOKENIZER_FILE, WORDS_FILE
from urbanvlm.models.tiny_tokenizer.make import make_tokenizer

MAKE = "urbanvlm.models.tiny_tokenizer"


def state(family: str, preset: str, seed: int) -> dict[str, torch.Tensor]:
    return get_family(family).load(preset, seed=seed).model.state_dict()


def test_the_registry_and_the_tokenizers_place_import_no_torch() -> None:
    code = (
        "import sys, urbanvlm.models.registry, urbanvlm.models.tiny_tokenizer; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_an_unknown_family_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="did you mean llava"):
        get_family("lava")
    with pytest.raises(UserError, match="blip2, instructblip, llava"):
        check_family("gemma")


def test_a_preset_of_another_family_is_refused() -> None:
    with pytest.raises(UserError, match=r"llava has no such preset; it has: tiny$"):
        get_family("llava").load("tiny-opt")


def test_every_preset_belongs_to_a_family() -> None:
    assert {preset for _, preset in KINDS} == set(TINY_PRESETS)
    assert {family for family, _ in KINDS} == set(FAMILIES)


@pytest.mark.parametrize(("family", "preset"), KINDS)
def test_weights_depend_on_the_seed_and_nothing_else(family: str, preset: str) -> None:
    torch.manual_seed(11)
    first = state(family, preset, seed=3)
    torch.manual_seed(12)
    again, other = state(family, preset, seed=3), state(family, preset, seed=4)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_building_a_model_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    get_family("blip2").load("tiny", seed=9)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(("family", "preset"), [kind for kind in KINDS if kind[0] != "llava"])
def test_query_tokens_differ_from_each_other(family: str, preset: str) -> None:
    queries = shared(family, preset).model.query_tokens[0]
    distances = torch.cdist(queries, queries) + torch.eye(len(queries)) * 1e9
    assert distances.min() > 1


@pytest.mark.parametrize("language_model", ["t5", "opt", "llama"])
@given(text=st.text())
def test_any_text_comes_back_as_it_went_in(language_model: str, text: str) -> None:
    tokenizer = tiny_tokenizer(language_model)  # type: ignore[arg-type]
    if not any(token in text for token in tokenizer.all_special_tokens):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_special_tokens_stand_where_each_language_model_has_them() -> None:
    def tokens(language_model: str) -> list[str]:
        tokenizer = tiny_tokenizer(language_model)  # type: ignore[arg-type]
        return tokenizer.convert_ids_to_tokens(tokenizer("yes")["input_ids"])

    assert tokens("t5") == ["yes", "</s>"]
    assert tokens("opt") == ["</s>", "yes"]
    assert tokens("llama") == ["<s>", "yes"]


def test_words_of_answers_and_single_digits_are_single_tokens() -> None:
    tokenizer = tiny_tokenizer("t5")
    answers = ["Yes", "No", "yes", "no", *DEPTH_LABELS, *OBJECTS, *FACTORS, *SIDE_LABELS]
    for answer in answers:
        for text in (answer, f": {answer}"):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert len(ids) == len(text.replace(":", " :").split()), text
    assert len(tokenizer("0.37", add_special_tokens=False)["input_ids"]) == 4


def test_the_shipped_prompts_cost_about_a_token_a_word() -> None:
    tokenizer, prompts = tiny_tokenizer("t5"), load_prompts(None)
    texts = [prompts.default, prompts.chain_of_thought, *prompts.subtypes.values()]
    words = sum(len(text.split()) for text in texts)
    assert sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts) < 1.6 * words


def test_every_word_that_our_rules_write_is_one_token() -> None:
    """Bytes would make rows half as long again, and an object's name no single thing."""
    tokenizer = tiny_tokenizer("t5")
    records = many_metadata(15)
    asked = [draft for record in records for draft in drafts(record, SUBTYPES, 0)]
    assert {draft.subtype for draft in asked} >= set(SUBTYPES) - {"occlusion.binary"}
    spelt = set()
    for text in {text for draft in asked for text in (draft.question, draft.answer, draft.cot_answer)}:
        encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        tokens = tokenizer.convert_ids_to_tokens(encoding["input_ids"])
        pieces = zip(tokens, encoding["offset_mapping"], strict=True)
        spelt |= {text[start:end] for token, (start, end) in pieces if token.startswith("<0x")}
    assert not spelt, f"add the words with these letters to {WORDS_FILE.name}, then `python -m {MAKE}`: {sorted(spelt)}"


def test_the_shipped_tokenizer_is_what_its_words_give() -> None:
    made = make_tokenizer(WORDS_FILE.read_text(encoding="utf-8").splitlines()).to_str() + "\n"
    assert TOKENIZER_FILE.read_text(encoding="utf-8") == made
