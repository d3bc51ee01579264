"""A training's folder is one training's at a time, also where files cannot be locked."""

import errno
import os
import resource
from pathlib import Path

import pytest
import torch

from vlabench import locks
from vlabench.errors import RecordError, RunLockedError, StorageError
from vlabench.recipe import read_recipe
from vlabench.registry import find_recipe
from vlabench_baselines.common.folder import claim, save_state

RECIPE = read_recipe(find_recipe("sft-point-reach"))


def test_a_second_training_in_a_folder_is_refused(tmp_path: Path) -> None:
    with (
        claim(tmp_path, RECIPE),
        pytest.raises(RunLockedError, match="another vlabench process trains in"),
        claim(tmp_path, RECIPE),
    ):
        pass
    assert (tmp_path / "recipe").read_text() == f"{RECIPE.digest}\n"


def test_a_full_disk_keeps_the_last_state_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk."""
    save_state(tmp_path, {"step": torch.zeros(1)})
    before = (tmp_path / "state.pt").read_bytes()
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), kept[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*state\.pt: .*the last one is kept"):
            save_state(tmp_path, {"step": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    assert (tmp_path / "state.pt").read_bytes() == before


def test_a_file_system_without_locks_is_said_to_be_one_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(RecordError, match=r"no locks .* --no-lock"), claim(tmp_path, RECIPE):
        pass
    assert list(tmp_path.iterdir()) == []
    locks.use_locks(wanted=False)
    try:
        with claim(tmp_path, RECIPE):
            assert (tmp_path / "recipe").is_file()
    finally:
        locks.use_locks(wanted=True)
