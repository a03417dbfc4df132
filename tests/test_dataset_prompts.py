"""Prompts say the question and the form of its answer; shards and batches are fixed, disjoint and complete."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from dataset_support import many_metadata
from hypothesis import given
from hypothesis import strategies as st

from urbanvlm.dataset.prompts import Prompts, load_prompts, prompt_hash
from urbanvlm.dataset.rules import RULES, drafts
from urbanvlm.dataset.shards import batches, shard_of
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.models.registry import FAMILIES
from urbanvlm.records import Example

EXAMPLE = Example(
    "a#0", "a.jpg", "a", "Is there a car? ", "Yes", "perceptual", "presence.binary", "I see one. Answer: Yes"
)
FORMS = {
    "yes_no": "yes or no",
    "integer": "number",
    "share": "0 to 1",
    "number": "number",
    "class": "one",
    "depth_label": "low, moderate or high",
    "side_label": "left side, right side or evenly spread",
}


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    return load_prompts(None)


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_the_shipped_prompts_ask_for_the_form_of_the_answer(prompts: Prompts, subtype: str) -> None:
    example = replace(EXAMPLE, question="What?", subtype=subtype)
    text = prompts.render(example, False)
    words = {"depth.range": "complex or simple", "multi_hop.which_is_more": "people or cars"}
    assert text.startswith("What? ")
    assert words.get(subtype, FORMS[SUBTYPES[subtype].answer_kind]) in text
    thought = prompts.render(example, True)
    assert thought.startswith(text) and "Answer:" in thought
    assert prompts.render(replace(example, subtype=f"paraphrase.from_{subtype}"), False) == text


def test_prompts_of_our_questions_are_short(prompts: Prompts) -> None:
    for draft in drafts(many_metadata(1)[0], tuple(RULES), seed=0):
        text = prompts.render(replace(EXAMPLE, question=draft.question, subtype=draft.subtype), False)
        assert len(text.split()) <= 26 and "\n" not in text


def test_white_space_is_folded(prompts: Prompts) -> None:
    text = prompts.render(replace(EXAMPLE, question="  Is there\na car?\t"), False)
    assert text == prompts.render(replace(EXAMPLE, question="Is there a car?"), False)


def test_the_target_is_the_answer_or_the_rationale(prompts: Prompts) -> None:
    assert prompts.target(EXAMPLE, False) == "Yes"
    assert prompts.target(EXAMPLE, True) == "I see one. Answer: Yes"


@pytest.mark.parametrize("rationale", ["So: Answer: Yes", "Answer: No? Rather answer:  yes.\n", "I see.\nAnswer: YES"])
def test_a_rationale_may_end_in_the_answer_in_its_own_way(prompts: Prompts, rationale: str) -> None:
    assert prompts.target(replace(EXAMPLE, cot_answer=rationale), True) == rationale


@pytest.mark.parametrize(
    "rationale", ["Answer: No", "Answer: Yes. Answer: No", "Yes", "Answer:", "Answer: Yes, I think"]
)
def test_a_rationale_that_ends_otherwise_is_refused(prompts: Prompts, rationale: str) -> None:
    example = replace(EXAMPLE, cot_answer=rationale)
    assert prompts.target(example, False) == "Yes"
    with pytest.raises(UserError, match=r"example a#0: cot_answer does not end in 'Answer: Yes'"):
        prompts.target(example, True)


def test_a_missing_rationale_is_refused(prompts: Prompts) -> None:
    with pytest.raises(UserError, match=r"example a#0: has no cot_answer"):
        prompts.target(replace(EXAMPLE, cot_answer=None), True)


def test_the_rationales_we_write_are_targets(prompts: Prompts) -> None:
    for metadata in many_metadata(10):
        for draft in drafts(metadata, tuple(RULES), seed=0):
            example = replace(EXAMPLE, answer=draft.answer, subtype=draft.subtype, cot_answer=draft.cot_answer)
            assert prompts.target(example, True) == draft.cot_answer


def test_a_user_s_own_prompts(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("default: Short!\nchain_of_thought: Think.\nsubtypes: {count: 'Digits, please.'}\n")
    prompts = load_prompts(path)
    assert prompts.render(EXAMPLE, False) == "Is there a car? Short!"
    assert prompts.render(replace(EXAMPLE, subtype="count"), True) == "Is there a car? Digits, please. Think."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("default: x\nchain_of_thought: y\nsubtype: {}\n", "subtype: unknown key; did you mean subtypes"),
        (
            "default: x\nchain_of_thought: y\nsubtypes: {cuont: z}\n",
            r"subtypes\.cuont: unknown key; did you mean count",
        ),
        ("chain_of_thought: y\nsubtypes: {count: z}\n", "default: is missing"),
        ("default: x\n", "chain_of_thought: is missing"),
        ("default: yes\nchain_of_thought: y\n", "p.yaml:1: yes is true to some"),
        ("default: true\nchain_of_thought: y\n", "default: must be text"),
        ("default: x\nchain_of_thought: y\nsubtypes: {count: 3}\n", r"subtypes\.count: must be text"),
        ("default: x\nchain_of_thought: y\nsubtypes: [count]\n", "subtypes: is not a mapping"),
        ("default: x\ndefault: y\n", "p.yaml:2: .*twice"),
        ("default: [x\n", "p.yaml:2"),
        ("", "is not a mapping"),
    ],
)
def test_a_prompts_file_that_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as error:
        load_prompts(path)
    assert str(path) in str(error.value)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("defualt: x\nsubtypes: {cuont: y, count: 3}\n")
    with pytest.raises(UserError) as error:
        load_prompts(path)
    for word in ("did you mean default", "default: is missing", "chain_of_thought: is missing", "did you mean count"):
        assert word in str(error.value)
    assert "subtypes.count: must be text" in str(error.value) and "docs/prompts.md" in str(error.value)


@pytest.mark.parametrize(
    "placeholder", ["{question}", "{}", "{{ Question }}", "%s", "%(question)s", "$question", "<image>", "[QUESTION]"]
)
@pytest.mark.parametrize("key", ["default", "chain_of_thought", "subtypes.count"])
def test_a_placeholder_is_refused_with_how_a_prompt_is_made(tmp_path: Path, placeholder: str, key: str) -> None:
    tree = {"default": "x", "chain_of_thought": "y", "subtypes": {"count": "z"}}
    parent = tree["subtypes"] if "." in key else tree
    assert isinstance(parent, dict)
    parent[key.rpartition(".")[2]] = f"{placeholder} Answer briefly."
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(UserError, match="a prompt is the question, then this text") as error:
        load_prompts(path)
    assert f"{key}: holds {placeholder}" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        'Write {"answer": 3}.',
        "In %, such as 50 % sky.",
        "Less than 5 $ [1-9] <10>",
        "End in 'Answer: <answer>' or [answer].",
    ],
)
def test_braces_of_no_placeholder_are_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({"default": text, "chain_of_thought": "y"}))
    assert load_prompts(path).default == text


def test_the_documented_file_is_one_and_its_prompts_are_as_documented(tmp_path: Path) -> None:
    document = (Path(__file__).parent.parent / "docs" / "prompts.md").read_text(encoding="utf-8")
    path = tmp_path / "p.yaml"
    path.write_text(document.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    text = load_prompts(path).render(replace(EXAMPLE, question="How many cars are there?", subtype="count"), False)
    for family, entry in FAMILIES.items():
        whole = entry.whole_prompt(text).replace("\n", "\\n")
        assert any(f"`{family}`" in line and f"`{whole}`" in line for line in document.splitlines())


def test_no_prompts_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_prompts(tmp_path / "absent.yaml")


def test_the_hash_of_a_prompt() -> None:
    assert prompt_hash("Wie groß?") == hashlib.sha256("Wie groß?".encode()).hexdigest()[:16]


@given(total=st.integers(0, 60), count=st.integers(1, 12), size=st.integers(1, 9))
def test_shards_and_batches_are_disjoint_ordered_and_complete(total: int, count: int, size: int) -> None:
    items = list(range(total))
    shards = [shard_of(items, index, count) for index in range(count)]
    assert [item for shard in shards for item in shard] == items
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    groups = batches(items, size)
    assert [item for group in groups for item in group] == items
    assert all(len(group) == size for group in groups[:-1])
    assert not groups or 1 <= len(groups[-1]) <= size


@pytest.mark.parametrize(("index", "count"), [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_does_not_exist(index: int, count: int) -> None:
    with pytest.raises(ValueError, match="no shard"):
        shard_of([1, 2, 3], index, count)
