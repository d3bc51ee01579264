"""The checkpoints that come along, and policies made of checkpoints.

Shipped checkpoints lie in `checkpoints/METHOD-FAMILY-FRONT`, `sft-libero-privileged`. Importing
this imports no torch.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from vlabench.errors import MissingExtraError, SettingError
from vlabench.policy import Policy
from vlabench.protocol import Protocol
from vlabench.suite import Suite
from vlabench_baselines.nanovla.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from vlabench_baselines.nanovla.config import Readout

FrontChoice = Literal["auto", "privileged", "vision"]
VerifierChoice = Literal["consensus", "critic", "rprm"]
PickChoice = Literal["best", "vote"]
SHIPPED = Path(__file__).parents[1] / "checkpoints"


def policy_maker(method: str, what: str) -> Callable[..., Policy]:
    """Return the function that makes a method's policy, as the table of policies wants it.

    That function takes these settings:
        front: `privileged` sees object poses, `vision` sees pictures; `auto` takes what there is,
            privileged first, because it needs no OpenGL.
        checkpoint: A folder that `vlabench train` wrote, instead of a shipped one.
        execute: Actions of a chunk that are executed before it is asked again; None is what the
            checkpoint was tried with.
        samples: Chunks that are drawn for each decision; more than 1 need a temperature.
        temperature: Of drawn action tokens; 0 draws none, and reads them off.
        readout: How they are read off: the `median` of each number, or its `likeliest` bin; None is
            what the checkpoint says.
        verifier: Which of several samples is executed: `consensus` takes the one nearest to all
            others; `critic` and `rprm` are judges that the checkpoint carries.
        pick: How a judge picks: the `best`, which it scores highest, or by `vote`, the one nearest
            to all others, each of which counts as much as its score. None is the best.

    It raises MissingExtraError if torch is not installed, CheckpointError if no checkpoint fits the
    suite or it is damaged or lacks the judge, and SettingError for what makes no sense.

    Args:
        method: What records and shipped checkpoints call it.
        what: What `vlabench list policies` says of it.
    """

    def make(  # noqa: PLR0913 - a policy's settings are its maker's arguments
        suite: Suite,
        protocol: Protocol,
        *,
        front: FrontChoice = "auto",
        checkpoint: Path | None = None,
        execute: int | None = None,
        samples: int = 1,
        temperature: float = 0.0,
        readout: Readout | None = None,
        verifier: VerifierChoice = "consensus",
        pick: PickChoice | None = None,
    ) -> Policy:
        for package in ("torch", "safetensors"):
            if find_spec(package) is None:
                raise MissingExtraError(f"policy {method!r}", package, "torch")
        if pick and verifier == "consensus":
            raise SettingError(
                f"pick={pick} with verifier=consensus, which is a vote of equals; leave it out, or "
                "take verifier=rprm or verifier=critic"
            )
        path = checkpoint or find_shipped(method, suite, front)
        found = read_checkpoint(path, readout=readout)
        _check(found, suite, front, execute)
        _check_readout(found, readout, temperature)
        import torch

        from vlabench_baselines.nanovla.policy import NanoPolicy
        from vlabench_baselines.nanovla.search import Search

        # Several threads round differently from one, and take longer for so small a model.
        torch.set_num_threads(1)
        judge = None if verifier == "consensus" else found.load_judge(verifier)
        return NanoPolicy(
            method,
            found.load_model(),
            found.origin,
            digest=found.digest,
            search=Search(
                samples=samples, temperature=temperature, judge=judge, vote=pick == "vote"
            ),
            execute=execute or found.notes.get("execute"),
        )

    make.__doc__ = what
    return make


def find_shipped(method: str, suite: Suite, front: FrontChoice = "auto") -> Path:
    """Return the shipped checkpoint of a method for a suite.

    Raises:
        CheckpointError: If there is none.
    """
    shipped = sorted(path.name for path in SHIPPED.glob(f"{method}-*") if path.is_dir())
    fronts = ("privileged", "vision") if front == "auto" else (front,)
    for kind in fronts:
        for name in shipped:
            family = name.removeprefix(f"{method}-").removesuffix(f"-{kind}")
            if name.endswith(f"-{kind}") and _of_family(suite, family):
                return SHIPPED / name
    what = "" if front == "auto" else f" with front={front}"
    raise CheckpointError(
        f"no checkpoint of {method!r} for suite {suite.id!r}{what} comes along; there are: "
        f"{', '.join(shipped) or 'none'}. Train one with `vlabench train`, and name it with: "
        "--set checkpoint=FOLDER"
    )


def _of_family(suite: Suite, family: str) -> bool:
    return suite.id == family or suite.id.startswith(f"{family}-")


def _check(found: Checkpoint, suite: Suite, front: FrontChoice, execute: int | None) -> None:
    if not _of_family(suite, found.origin.family):
        raise CheckpointError(
            f"{found.folder} was trained for suites of {found.origin.family!r}, on "
            f"{found.origin.suite}; it knows nothing of suite {suite.id!r}"
        )
    if front not in ("auto", found.config.front):
        raise SettingError(f"front={front}, and {found.folder} is a {found.config.front} model")
    if execute is not None and not 1 <= execute <= found.config.chunk:
        raise SettingError(
            f"execute={execute}, expected 1 to {found.config.chunk}: {found.folder.name} decides "
            f"on {found.config.chunk} actions at once"
        )


def _check_readout(found: Checkpoint, readout: Readout | None, temperature: float) -> None:
    if readout and found.config.head != "tokens":
        raise SettingError(
            f"readout={readout}, and {found.folder.name} has a continuous head, which has no "
            "tokens to read off; leave it out"
        )
    if readout and temperature:
        raise SettingError(
            f"readout={readout} with temperature={temperature:g}, at which tokens are drawn and "
            "not read off; leave one of them out"
        )
