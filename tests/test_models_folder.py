"""A checkpoint's folder is looked at before a job starts: one line says what is wrong with it and what to do."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from urbanvlm.errors import UserError
from urbanvlm.experiment import Model, load_experiment
from urbanvlm.inputs import check_fetched
from urbanvlm.models.registry import check_model

ROOT = Path(__file__).parent.parent
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4976698672\n"
EMBEDDING = "language_model.model.embed_tokens.weight"


def safetensors(**shapes: tuple[int, ...]) -> bytes:
    """Zeros of float32."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a LLaVA with 12 words, as far as a look at its files goes."""
    folder = tmp_path / "model"
    folder.mkdir()
    config = {
        "model_type": "llava",
        "image_token_index": 9,
        "text_config": {"model_type": "llama"},
        "vision_config": {"image_size": 336},
    }
    vocabulary = {f"w{i}": i for i in range(10)}
    tokenizer = {"model": {"type": "BPE", "vocab": vocabulary}, "added_tokens": [{"id": 10, "content": "<pad>"}]}
    processor = {"do_center_crop": True, "crop_size": {"height": 336, "width": 336}, "size": {"shortest_edge": 336}}
    files = {"config.json": config, "tokenizer.json": tokenizer, "preprocessor_config.json": processor}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "model.safetensors").write_bytes(safetensors(**{EMBEDDING: (12, 2), "lm_head.weight": (12, 2)}))
    return folder


def look(folder: Path, family: str = "llava") -> None:
    check_model(Model(family=family, checkpoint=str(folder)))


def put(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def change(name: str, **values: object) -> Callable[[Path], object]:
    """Some keys of a JSON file; those of None go."""

    def do(folder: Path) -> None:
        found = json.loads((folder / name).read_text()) | values
        (folder / name).write_text(json.dumps({key: value for key, value in found.items() if value != "gone"}))

    return do


def remove(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink() for name in names]


def sharded(*there: str) -> Callable[[Path], object]:
    """Two shards in the index, of which some are there."""

    def do(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        shards = {EMBEDDING: "model-00001-of-00002.safetensors", "lm_head.weight": "model-00002-of-00002.safetensors"}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
        for name, shard in shards.items():
            if shard in there:
                (folder / shard).write_bytes(safetensors(**{name: (12, 2)}))

    return do


ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, size)


def in_a_folder_below(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))
    for file in folder.iterdir():
        file.unlink()
    folder.with_name("copy").rename(folder / "export")


CASES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "pointer to weights": (put("model.safetensors", POINTER), ["model.safetensors: is a Git-LFS", "git lfs pull"]),
    "pointer to tokenizer": (put("tokenizer.json", POINTER), ["tokenizer.json: is a Git-LFS pointer", "git lfs pull"]),
    "pointer to config": (put("config.json", POINTER), ["config.json: is a Git-LFS pointer", "git lfs pull"]),
    "cut weights": (cut("model.safetensors", 250), ["model.safetensors: is not whole", "it has 250", "again"]),
    "cut header": (cut("model.safetensors", 20), ["model.safetensors", "only its beginning (20 bytes)", "again"]),
    "empty weights": (cut("model.safetensors", 0), ["model.safetensors", "only its beginning (0 bytes)", "again"]),
    "a page for weights": (put("model.safetensors", b"<html>Sign in</html>" * 9), ["no file of safetensors"]),
    "no weights": (remove("model.safetensors"), ["model': has no weights", "model.safetensors.index.json"]),
    "a shard missing": (sharded(ONE), ["1 of its 2 files of weights are missing, such as " + TWO]),
    "an index of nothing": (
        lambda folder: (sharded(ONE, TWO)(folder), put("model.safetensors.index.json", b"{}")(folder)),
        ["index.json: has no weight_map"],
    ),
    "pickles": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        ["as pickles alone, such as pytorch_model.bin", "only safetensors are taken", "save_pretrained"],
    ),
    "small embedding": (
        put("model.safetensors", safetensors(**{EMBEDDING: (10, 2)})),
        ["tokenizer.json: has tokens up to 10, but the model's embedding has 10 rows", "of one revision"],
    ),
    "other pictures": (
        change("preprocessor_config.json", crop_size={"height": 224, "width": 224}),
        ["preprocessor_config.json: makes pictures of 224 × 224 pixels, but the vision tower reads 336"],
    ),
    "no tokenizer": (remove("tokenizer.json"), ["has no tokenizer", "tokenizer.model"]),
    "no processor": (remove("preprocessor_config.json"), ["has no processor", "preprocessor_config.json"]),
    "LLaVA's own layout": (
        change("config.json", mm_vision_tower="openai/clip-vit-large-patch14-336", text_config="gone"),
        ["is in the layout of LLaVA's authors", "llava-hf/llava-1.5-7b-hf"],
    ),
    "text_config is null": (change("config.json", text_config=None), ["config.json: text_config is no object"]),
    "text_config is not there": (change("config.json", text_config="gone"), ["config.json: text_config is missing"]),
    "vision_config is null": (change("config.json", vision_config=None), ["config.json: vision_config is no object"]),
    "config is a list": (put("config.json", b"[]"), ["config.json: is not a JSON object"]),
    "config is torn": (put("config.json", b'{"model_type": "ll'), ["config.json: cannot be read"]),
    "no type": (change("config.json", model_type="gone"), ["config.json: has no model_type"]),
    "another family": (change("config.json", model_type="llava_next"), ["is a llava_next model"]),
    "no image token": (change("config.json", qformer_config={}, image_token_index="gone"), ["no image_token_index"]),
    "one folder too high": (in_a_folder_below, ["config.json: no such file; name ", "model/export"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_folder_that_is_not_whole(folder: Path, case: str) -> None:
    spoil, words = CASES[case]
    spoil(folder)
    with pytest.raises(UserError) as error:
        look(folder)
    for word in words:
        assert word in str(error.value)


def no_crop(folder: Path) -> None:
    change("preprocessor_config.json", do_center_crop=False)(folder)


WHOLE: dict[str, Callable[[Path], object]] = {
    "as it is": lambda folder: None,
    "two shards": sharded(ONE, TWO),
    "a size for both sides": change("preprocessor_config.json", crop_size=336),
    "a processor that does not crop": no_crop,
    "a tokenizer of a place a token": change(
        "tokenizer.json", model={"type": "Unigram", "vocab": [["w", 0.0]] * 11}, added_tokens=None
    ),
    "a tokenizer in another format": lambda folder: (folder / "tokenizer.json").rename(folder / "tokenizer.model"),
    "a tower of a size that the library knows": change("config.json", vision_config={}),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_folder_that_is_whole(folder: Path, case: str) -> None:
    WHOLE[case](folder)
    look(folder)


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(UserError, match=r"is a file; name the folder that it lies in"):
        look(folder / "model.safetensors")


def test_the_cache_of_the_hub_is_looked_at_too_and_so_is_what_adapters_stand_on(folder: Path, tmp_path: Path) -> None:
    commit, repository = "a" * 40, tmp_path / "hub" / "models--org--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    cached = repository / "snapshots" / commit
    cached.parent.mkdir()
    folder.rename(cached)
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    (adapters / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/name", "revision": commit})
    )
    experiments = [
        load_experiment(ROOT / "experiments" / "photos.yaml", [f"models.0.checkpoint={name}"])
        for name in ("org/name", str(adapters))
    ]
    for experiment in experiments:
        check_fetched(experiment, "x.yaml", {"HF_HUB_CACHE": str(tmp_path / "hub")})
    os.truncate(cached / "model.safetensors", 250)
    for experiment in experiments:
        with pytest.raises(UserError, match=r"^x\.yaml: models\.0: .*model\.safetensors: is not whole"):
            check_fetched(experiment, "x.yaml", {"HF_HUB_CACHE": str(tmp_path / "hub")})
    shutil.rmtree(repository)
    with pytest.raises(UserError, match=rf"'org/name' at {commit} is not, .* MODEL=org/name REVISION={commit}$"):
        check_fetched(experiments[1], "x.yaml", {"HF_HUB_CACHE": str(tmp_path / "hub")})


def test_a_look_imports_no_torch(folder: Path) -> None:
    code = (
        "import sys; from urbanvlm.models.registry import check_model; from urbanvlm.experiment import Model; "
        f"check_model(Model(family='llava', checkpoint={str(folder)!r})); "
        "sys.exit(bool({'torch', 'transformers', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
