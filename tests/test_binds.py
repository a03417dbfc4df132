"""Links that lead out of what an experiment names: the folders that a container sees because of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurm.binds import binds_of
from slurm.cluster import Bind, parse_cluster
from slurm.plan import make_plan
from urbanvlm.errors import UserError
from urbanvlm.experiment import load_experiment
from urbanvlm.run_folder import RunFolder

DEMO = Path(__file__).parent.parent / "experiments" / "demo.yaml"
MANY = 3000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, which is where everything is started in; it has pictures and no cache of models."""
    folder = tmp_path / "home"
    (folder / "pictures").mkdir(parents=True)
    (folder / "test.jsonl").write_text("")
    monkeypatch.setenv("HOME", str(folder))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


def binds(pictures: str = "pictures", profile: str = "") -> list[Bind]:
    """Of a job that reads pictures, without those of the run and of what is named itself."""
    words = ["mode=zero-shot", "train=null", "data.scenes=null", "data.test_file=test.jsonl", f"data.images={pictures}"]
    experiment = load_experiment(DEMO, [*words, "output=/nowhere/runs"])
    cluster = parse_cluster(f"executor: local\ncontainer: {{runtime: any{profile}}}", Path("site.yaml"))
    plan = make_plan(experiment, cluster)
    run = RunFolder(Path("/nowhere/runs/run-1"))
    found = binds_of(plan, plan.jobs[0], run, run.snapshots / "abc")
    ours = {str(run.path), *(str(Path.cwd() / name) for name in ("test.jsonl", pictures)), os.path.realpath(pictures)}
    assert all(bind.read_only for bind in found if bind.target not in ours)
    return [bind for bind in found if bind.target not in ours]


def can_be_read(link: Path, found: list[Bind]) -> bool:
    """Inside, where there is nothing but binds: follows a link by the paths it names."""
    at, shown = link, link
    for _ in range(40):
        if not shown.is_symlink():
            return shown.exists()
        at = Path(os.path.normpath(at.parent / shown.readlink()))
        holders = [bind for bind in found if at.is_relative_to(bind.target)]
        if not holders:
            return False
        nearest = max(holders, key=lambda bind: len(bind.target))
        shown = Path(nearest.source) / at.relative_to(nearest.target)
    return False


def test_thousands_of_links_need_few_binds(home: Path, tmp_path: Path) -> None:
    pools = [tmp_path / "disk" / name for name in ("a", "b")]
    links = [home / "pictures" / f"{k}.jpg" for k in range(MANY)]
    for pool in pools:
        pool.mkdir(parents=True)
    for k, link in enumerate(links):
        target = pools[k % 2] / link.name
        target.touch()
        link.symlink_to(target if k % 3 else os.path.relpath(target, link.parent))
    found = binds()
    assert sorted((bind.source, bind.target) for bind in found) == [(str(pool), str(pool)) for pool in pools]
    assert all(can_be_read(link, found) for link in links[::100])


def test_targets_with_a_folder_each_are_seen_by_way_of_what_they_have_in_common(home: Path, tmp_path: Path) -> None:
    """As git-annex keeps them."""
    objects = tmp_path / "disk" / ".git" / "annex" / "objects"
    links = [home / "pictures" / f"{k}.jpg" for k in range(MANY)]
    for k, link in enumerate(links):
        target = objects / f"{k % 40:02}" / f"{k % 97:02}" / f"KEY-{k}" / f"KEY-{k}"
        target.parent.mkdir(parents=True)
        target.touch()
        link.symlink_to(target)
    found = binds()
    assert [bind.target for bind in found] == [str(objects)]
    assert all(can_be_read(link, found) for link in links[::100])


def test_links_to_links_and_to_folders_of_links_are_followed_over_links_on_the_way(home: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    for name in ("pictures", "first", "second", "album", "originals"):
        (disk / name).mkdir(parents=True)
    (disk / "second" / "x.jpg").touch()
    (disk / "originals" / "y.jpg").touch()
    (disk / "first" / "x.jpg").symlink_to("../second/x.jpg")
    (disk / "album" / "y.jpg").symlink_to("../originals/y.jpg")
    (disk / "pictures" / "x.jpg").symlink_to("../first/x.jpg")
    (disk / "pictures" / "album").symlink_to("../album")
    (disk / "pictures" / "album-again").symlink_to(disk / "album")
    (disk / "pictures" / "nothing.jpg").symlink_to("../gone/x.jpg")
    (home / "data").symlink_to(disk)
    found = binds("data/pictures")
    assert {Path(bind.source).name for bind in found} == {"first", "second", "album", "originals"}
    for link in (home / "data" / "pictures" / "x.jpg", home / "data" / "album" / "y.jpg", disk / "album" / "y.jpg"):
        assert can_be_read(link, found), link


def test_links_in_a_circle_come_to_an_end(home: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / "sub").mkdir(parents=True)
    (tmp_path / "disk" / "circle").symlink_to(".")
    (tmp_path / "disk" / "sub" / "again").symlink_to("../circle/sub")
    (home / "pictures" / "sub").symlink_to(tmp_path / "disk" / "circle" / "sub")
    (home / "pictures" / "itself.jpg").symlink_to("itself.jpg")
    assert str(tmp_path / "disk" / "circle" / "sub") in {bind.target for bind in binds()}


def test_a_folder_that_may_not_be_looked_into_is_left_out(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, real = home / "pictures" / "lost+found", os.scandir
    closed.mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "x.jpg").touch()
    (home / "pictures" / "x.jpg").symlink_to(tmp_path / "disk" / "x.jpg")

    def scandir(folder: Path) -> object:
        if Path(folder) == closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert {bind.target for bind in binds()} == {str(tmp_path / "disk")}


def test_a_home_folder_is_not_bound_whole(home: Path, tmp_path: Path) -> None:
    (home / "one.jpg").touch()
    (home / "pictures" / "one.jpg").symlink_to(home / "one.jpg")
    (home / "pictures" / "home").symlink_to(home)
    (home / "pictures" / "above").symlink_to(tmp_path)
    (home / "pictures" / "everything").symlink_to("/")
    assert [(bind.source, bind.target) for bind in binds()] == [(str(home / "one.jpg"), str(home / "one.jpg"))]


@pytest.mark.parametrize("below", ["", "photos/"])
def test_targets_that_have_nothing_but_the_home_folder_in_common(home: Path, below: str) -> None:
    for k in range(40):
        target = home / f"{below}{k}" / "x.jpg"
        target.parent.mkdir(parents=True)
        target.touch()
        (home / "pictures" / f"{k}.jpg").symlink_to(target)
    if below:
        assert [bind.target for bind in binds()] == [str(home / "photos")]
        return
    with pytest.raises(UserError) as caught:
        binds()
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert "lead to 40 folders" in line and "container.binds" in line and str(home / "pictures") in line


def test_what_the_profile_binds_is_not_bound_again(home: Path) -> None:
    for k in range(40):
        (home / f"{k}").mkdir()
        (home / f"{k}" / "x.jpg").touch()
        (home / "pictures" / f"{k}.jpg").symlink_to(home / f"{k}" / "x.jpg")
    assert binds(profile=f", binds: ['{home}']") == []
