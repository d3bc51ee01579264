"""A training's folder is one training's at a time, also where files cannot be locked."""

import errno
import os
from pathlib import Path

import pytest

from vlabench import locks
from vlabench.errors import RecordError, RunLockedError
from vlabench.recipe import read_recipe
from vlabench.registry import find_recipe
from vlabench_baselines.common.folder import claim

RECIPE = read_recipe(find_recipe("sft-point-reach"))


def test_a_second_training_in_a_folder_is_refused(tmp_path: Path) -> None:
    with (
        claim(tmp_path, RECIPE),
        pytest.raises(RunLockedError, match="another vlabench process trains in"),
        claim(tmp_path, RECIPE),
    ):
        pass
    assert (tmp_path / "recipe").read_text() == f"{RECIPE.digest}\n"


def test_a_file_system_without_locks_is_said_to_be_one_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(RecordError, match=r"no locks .* --no-lock"), claim(tmp_path, RECIPE):
        pass
    assert list(tmp_path.iterdir()) == []
    locks.use_locks(wanted=False)
    try:
        with claim(tmp_path, RECIPE):
            assert (tmp_path / "recipe").is_file()
    finally:
        locks.use_locks(wanted=True)
