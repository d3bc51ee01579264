"""The SFT policy: which checkpoint fits a suite, and how it is asked."""

from pathlib import Path

from vlabench.policy import Policy
from vlabench.protocol import Protocol
from vlabench.suite import Suite
from vlabench_baselines.nanovla.shipped import FrontChoice, make_policy


def make(
    suite: Suite,
    protocol: Protocol,
    *,
    front: FrontChoice = "auto",
    checkpoint: Path | None = None,
    temperature: float = 0.0,
    execute: int | None = None,
) -> Policy:
    """Make the policy that cloned experts' demonstrations; a checkpoint for each suite comes along.

    Args:
        suite: Where it acts; decides which shipped checkpoint is taken.
        protocol: The rules.
        front: `privileged` sees object poses, `vision` sees pictures; `auto` takes what there is,
            privileged first, because it needs no OpenGL.
        checkpoint: A folder that `vlabench train` wrote, instead of a shipped one.
        temperature: Of drawn action tokens; 0 takes the likeliest.
        execute: Actions of a chunk that are executed before it is asked again; None is what the
            checkpoint was tried with.

    Raises:
        MissingExtraError: If torch is not installed.
        CheckpointError: If there is no checkpoint for the suite, or it is damaged.
        SettingError: If a number is out of range.
    """
    return make_policy(
        "sft",
        suite,
        front=front,
        checkpoint=checkpoint,
        temperature=temperature,
        execute=execute,
    )
