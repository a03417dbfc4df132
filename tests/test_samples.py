"""The plan shows one whole prompt of each subtype that is asked, as the models get it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from slurm.__main__ import main
from urbanvlm.experiment import load_experiment
from urbanvlm.models.registry import FAMILIES, get_family
from urbanvlm.run_folder import RunFolder
from urbanvlm.samples import planned_samples

ROOT = Path(__file__).parent.parent


def test_a_plan_shows_what_a_prompts_file_makes_of_the_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    Image.new("RGB", (64, 64)).save("pictures/a.jpg")
    row = {"image_id": "a.jpg", "qtype": "perceptual"}
    rows = [
        row | {"question": "Is there a [car]?", "answer": "Yes", "subtype": "presence.binary"},
        row | {"question": "Is there a bus?", "answer": "No", "subtype": "presence.binary"},
        row | {"question": "How many cars?", "answer": "2", "subtype": "count"},
        row | {"question": "What is this?", "answer": "maybe", "subtype": "negation.absence"},
    ]
    Path("test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    Path("mine.yaml").write_text("default: One word.\nchain_of_thought: Think.\nsubtypes: {count: Digits.}\n")
    tree = {
        "name": "x",
        "mode": "zero-shot",
        "data": {"test_file": "test.jsonl", "images": "pictures"},
        "models": [{"family": "llava"}, {"family": "blip2"}],
        "evaluate": {"prompts": "mine.yaml"},
    }
    Path("x.yaml").write_text(yaml.safe_dump(tree))
    assert main(["plan", "x.yaml"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "llava presence.binary USER: <image>\\nIs there a [car]? One word. ASSISTANT:" in shown
    assert "blip2 count Question: How many cars? Digits. Answer:" in shown
    assert "a bus" not in shown and "What is this" not in shown  # one a subtype, and only what is asked
    assert main(["plan", "x.yaml", "--set", "sweep.seed=[0,1]"]) == 0
    assert capsys.readouterr().out.count("How many cars? Digits.") == 2


def test_questions_that_are_not_rendered_yet_stand_together_by_their_instructions(tmp_path: Path) -> None:
    experiment = load_experiment(ROOT / "experiments" / "demo.yaml", [f"output={tmp_path}"])
    found = planned_samples(experiment, RunFolder.of(experiment))
    assert {sample.family for sample in found} == set(FAMILIES)
    count = next(sample for sample in found if sample.asked == "count" and sample.family == "instructblip")
    assert count.text == "… Answer with a number."
    assert found[0].asked == f"{found[0].subtypes[0]} and {len(found[0].subtypes) - 1} more"


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_what_is_shown_is_what_the_tokenizer_gets(name: str) -> None:
    family = get_family(name)
    loaded = family.load("tiny")
    ids = family.encode_prompts(loaded, [Image.new("RGB", (64, 64))], ["Is there a car?"])["input_ids"][0]
    image = loaded.model.config.image_token_id
    whole = FAMILIES[name].whole_prompt("Is there a car?").replace("<image>", "")
    expected = loaded.processor.tokenizer.decode(loaded.processor.tokenizer(whole)["input_ids"])
    assert loaded.processor.tokenizer.decode([i for i in ids.tolist() if i != image]) == expected
