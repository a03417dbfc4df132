"""The experiment: what is accepted, what is refused with which line, and what makes a run another run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment, check_experiment, load_experiment, reference
from urbanvlm.sweep import load_sweep
from urbanvlm.yaml_text import parse_yaml

MINIMAL = {
    "name": "x",
    "mode": "fine-tune",
    "data": {"scenes": {"places": 8}},
    "models": [{"family": "blip2"}],
    "train": {"max_steps": 3, "train_batch_size": 8, "micro_batch_size": 4},
    "resources": {"processes": 2},
}


def write(tmp_path: Path, tree: object) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def refusal(tmp_path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_experiment(write(tmp_path, MINIMAL), overrides)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.learnin_rate=1", ["train.learnin_rate", "unknown key", "did you mean learning_rate?"]),
        ("nonsense=1", ["nonsense", "unknown key", "known: name, question"]),
        ("models.0.famly=llava", ["models.0.famly", "did you mean family?"]),
        ("train.learning_rate=fast", ["train.learning_rate", "valid number", "'fast'"]),
        ("train.learning_rate=0", ["train.learning_rate", "greater than 0"]),
        ("train.learning_rate=.nan", ["train.learning_rate", "finite"]),
        ("seed=1.5", ["seed", "valid integer"]),
        ("seed=100000000000000000000", ["seed", "less than"]),
        ("seed=-1", ["seed", "greater than or equal to 0"]),
        ("seed=true", ["seed", "valid integer"]),
        ("data.scenes.places=1", ["data.scenes.places", "greater than or equal to 2"]),
        ("data.scenes.headings=[0,0]", ["data.scenes", "headings", "different"]),
        ("data.scenes.weights={count: 0}", ["data.scenes.weights", "greater than 0"]),
        ("data.scenes.test_share=0.95", ["data.scenes", "less than 1"]),
        ("data.test_file=a.jsonl", ["data", "exclude each other"]),
        ("train.micro_batch_size=3", ["train_batch_size is 8", "micro_batch_size 3", "processes 2 = 6"]),
        ("train.epochs=2", ["train", "exactly one of epochs and max_steps"]),
        ("mode=zero-shot", ["mode zero-shot none"]),
        ("mode=finetune", ["mode", "'fine-tune' or 'zero-shot'"]),
        ("name=../x", ["name", "letters, digits"]),
        ("name=a b", ["name", "letters, digits"]),
        ("models=[]", ["models", "at least 1"]),
        ("models.1.family=blip2", ["models.1.family=blip2", "not an item of the list"]),
        ("models.0.label=a/b", ["models.0.label", "letters, digits"]),
        ("name.x=1", ["name.x=1", "a value, not a section"]),
        ("seed", ["'seed'", "not of the form section.key=value"]),
        ("seed=[", ["'seed=['"]),
        ("evaluate.images=grey", ["evaluate.images", "'real', 'blank' or 'shuffled'", "'grey'"]),
        ("evaluate.images=3", ["evaluate.images", "must be a list", "got 3"]),
        ("data.allow=shared-places", ["data.allow", "must be a list", "'shared-places'"]),
        ("evaluate.images=[]", ["evaluate.images", "at least one of real, blank, shuffled"]),
        ("evaluate.images=[blank, blank]", ["evaluate.images", "each once"]),
        ("models.0.images=[real, dark]", ["models.0.images", "'dark'"]),
        ("resources.timeout_minutes=24h", ["resources.timeout_minutes", "is no time", "'24h'"]),
        ("resources.timeout_minutes=UNLIMITED", ["resources.timeout_minutes", "leave the key out"]),
        ("resources.timeout_minutes=400-00", ["resources.timeout_minutes", "less than or equal to 527040"]),
        ("resources.memory_gb=64000", ["resources.memory_gb", "less than or equal to 32768", "64000"]),
        ("seed=24:00:00", ["seed", "valid integer", "'24:00:00'"]),
        ("seed=010", ["seed", "valid integer", "'010'", "plain digits"]),
        ("train.max_steps=1_000", ["train.max_steps", "valid integer", "'1_000'", "plain digits"]),
        ("data.chain_of_thought=yes", ["data.chain_of_thought=yes", "write true, or put it in quotes"]),
        (f"seed={'9' * 5000}", ["no number that can be read"]),
        (f"train.learning_rate={'9' * 400}", ["train.learning_rate", "valid number"]),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path: Path, override: str, words: list[str]) -> None:
    line = refusal(tmp_path, override)
    for word in words:
        assert word in line, line


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_zero_stage_0_in_half_precision_is_refused(tmp_path: Path, precision: str) -> None:
    line = refusal(tmp_path, "train.zero_stage=0", f"models.0.precision={precision}")
    assert "zero_stage 0" in line and "blip2" in line
    load_experiment(write(tmp_path, MINIMAL), ["train.zero_stage=0"])


def test_missing_key_duplicate_key_and_bad_yaml_name_the_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.yaml: mode: is missing"):
        load_experiment(write(tmp_path, {k: v for k, v in MINIMAL.items() if k != "mode"}))
    path = tmp_path / "twice.yaml"
    path.write_text("name: a\nseed: 1\nseed: 2\n")
    with pytest.raises(UserError, match=r"twice\.yaml:3: key 'seed' is given twice"):
        load_experiment(path)
    path.write_text("name: a\n  seed: 1\n")
    with pytest.raises(UserError, match=r"twice\.yaml:2"):
        load_experiment(path)
    path.write_text("- a\n")
    with pytest.raises(UserError, match="not a mapping"):
        load_experiment(path)
    with pytest.raises(UserError, match="no such file"):
        load_experiment(tmp_path / "absent.yaml")


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(f"name: !!python/object/apply:os.system ['touch {tmp_path}/owned']\n")
    with pytest.raises(UserError):
        load_experiment(path)
    assert not (tmp_path / "owned").exists()


def test_two_models_of_one_family_need_labels(tmp_path: Path) -> None:
    twice = MINIMAL | {"models": [{"family": "blip2"}, {"family": "blip2", "checkpoint": "tiny-opt"}]}
    with pytest.raises(UserError, match=r"two models have one label.*models\.N\.label"):
        load_experiment(write(tmp_path, twice))
    experiment = load_experiment(write(tmp_path, twice), ["models.1.label=opt"])
    assert [model.label for model in experiment.models] == ["blip2", "opt"]


def test_overrides_are_yaml_values(tmp_path: Path) -> None:
    experiment = load_experiment(
        write(tmp_path, MINIMAL),
        ["train.learning_rate=1e-4", "train.lora.rank=4", "data.scenes.subtypes=[count]", "question=a = b"],
    )
    assert experiment.train is not None and experiment.train.lora is not None
    assert experiment.train.learning_rate == 1e-4
    assert experiment.train.lora.rank == 4
    assert experiment.data.scenes is not None and experiment.data.scenes.subtypes == ("count",)
    assert experiment.question == "a = b"


def test_the_run_id_follows_what_is_computed_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    base = load_experiment(path).run_id
    assert base.startswith("x-") and len(base) == len("x-") + 8
    same = ["resources.memory_gb=9", "output=elsewhere", "question=why", "train.learning_rate=5.0e-5"]
    same += ["train.log_every_steps=1", "train.checkpoint_every_steps=2", "train.keep_checkpoints=1"]
    assert load_experiment(path, same).run_id == base
    for change in ("seed=1", "train.max_steps=4", "data.scenes.places=9", "models.0.checkpoint=tiny-opt"):
        assert load_experiment(path, [change]).run_id != base


def test_images_are_one_kind_or_a_list_whose_order_means_nothing(tmp_path: Path) -> None:
    twice = MINIMAL | {"models": [{"family": "blip2"}, {"family": "llava", "images": "blank"}]}
    path = write(tmp_path, twice)
    experiment = load_experiment(path, ["evaluate.images=[shuffled, real]"])
    assert [experiment.images_of(model) for model in experiment.models] == [("real", "shuffled"), ("blank",)]
    assert experiment.run_id == load_experiment(path, ["evaluate.images=[real, shuffled]"]).run_id
    assert experiment.run_id != load_experiment(path).run_id
    assert load_experiment(path).run_id == load_experiment(path, ["evaluate.images=real"]).run_id
    assert check_experiment(parse_yaml(experiment.to_yaml(), "again"), "again") == experiment


@given(
    seed=st.integers(0, 2**40),
    rate=st.floats(1e-12, 10, allow_subnormal=False),
    question=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))),
)
def test_an_experiment_survives_its_yaml(seed: int, rate: float, question: str) -> None:
    tree = MINIMAL | {"seed": seed, "question": question, "train": {**MINIMAL["train"], "learning_rate": rate}}  # type: ignore[dict-item]
    experiment = Experiment.model_validate(tree)
    assert check_experiment(parse_yaml(experiment.to_yaml(), "again"), "again") == experiment


@pytest.mark.parametrize("text", ["1e5", "123e45", "0x_", "yes", "2024-02-30", "1_000", "~", ".5e3", "é: x"])
def test_text_that_looks_like_another_type_survives_the_yaml(text: str) -> None:
    experiment = Experiment.model_validate(MINIMAL | {"question": text})
    assert check_experiment(parse_yaml(experiment.to_yaml(), "again"), "again") == experiment


def test_every_key_is_documented_once() -> None:
    rows = list(reference())
    assert len({key for key, *_ in rows}) == len(rows)
    assert all(meaning.strip() for *_, meaning in rows)


def test_the_readme_and_every_shipped_experiment_are_up_to_date() -> None:
    from urbanvlm.cli import fill_readme

    root = Path(__file__).parent.parent
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert fill_readme(readme, root) == readme, "run `.venv/bin/python -m urbanvlm readme`"
    shipped = sorted((root / "experiments").glob("*.yaml"))
    assert len(shipped) >= 8
    index = (root / "experiments" / "README.md").read_text(encoding="utf-8")
    for path in shipped:
        head = path.read_text(encoding="utf-8").splitlines()[:3]
        assert [line.split()[1] for line in head] == ["Question", "Command", "Cost"], path
        assert f"experiments/{path.name}" in head[1]
        assert f"]({path.name})" in index, f"{path.name} is not in experiments/README.md"
        load_sweep(path)
