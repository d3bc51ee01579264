"""Meta-World in three groups: learnt from demonstrations, improved by RL, never trained on.

iRe-VLA (arXiv 2501.16664, table I) has 25 tasks with demonstrations, 5 new ones for RL, and 10
unseen ones. It names the 5 and says that they vary "in shape, colour, position"; the names of the
25 and of the 10, and what was varied by how much, are not published. The lists and the table below
are all that we chose, and docs/adr/0010-metaworld-split.md says why.

A new task is `metaworld-new/NAME`: the task NAME, in the same words and under the same rules, whose
things are placed where episodes of `metaworld/NAME` have them hardly ever or never.
"""

from dataclasses import replace

from vlabench.protocol import Protocol
from vlabench.spaces import ObservationSpec
from vlabench.suite import Suite, Task
from vlabench_suites.metaworld import SUITE, MetaworldEnv

# The paper's five: "Button-Press-new, Drawer-Open-new, Door-Open-new, Window-Open-new,
# Window-Close-new".
RL = (
    "button-press-v3",
    "drawer-open-v3",
    "door-open-v3",
    "window-open-v3",
    "window-close-v3",
)
# Ours. Like the five, tasks that were demonstrated, but others, of every kind: press, turn, close,
# open, pull, and one free object.
UNSEEN = (
    "button-press-topdown-v3",
    "coffee-button-v3",
    "dial-turn-v3",
    "door-close-v3",
    "door-lock-v3",
    "drawer-close-v3",
    "faucet-open-v3",
    "handle-press-v3",
    "lever-pull-v3",
    "push-v3",
)
# Ours, but for the five, since "new" presupposes them. Meta-World's experts need 30 to 90 steps
# and hardly ever fail, so that demonstrations are cheap and a policy's failures are its own. Most
# are fixtures; push and the last five want more care (objects to grasp or to guide, tools).
EXPERT = (
    *RL,
    *UNSEEN,
    "door-unlock-v3",
    "faucet-close-v3",
    "handle-press-side-v3",
    "plate-slide-v3",
    "reach-v3",
    "coffee-pull-v3",
    "coffee-push-v3",
    "hammer-v3",
    "pick-place-v3",
    "sweep-v3",
)

# Ours: how far the boxes that places are drawn from are moved, to the right and away from the
# robot, in metres. 15 cm to the right and 5 cm nearer leaves less than 20 % of any old box (most
# are 20 cm wide and 5 to 20 cm deep). To the right, because there the cameras see more; to the
# left the arm hides things, and the expert does not get a door open. A number that changes here
# raises `_VERSION`, and with it all seeds of the suites that hold new tasks.
SHIFTS = {
    "button-press-v3": (0.15, -0.05),
    "drawer-open-v3": (0.15, -0.05),
    "door-open-v3": (0.15, -0.05),
    "window-open-v3": (0.15, -0.05),
    "window-close-v3": (0.15, -0.05),
    "button-press-topdown-v3": (0.15, -0.05),
    "coffee-button-v3": (0.15, -0.05),
    "dial-turn-v3": (0.15, -0.05),
    "door-close-v3": (0.15, -0.05),
    "door-lock-v3": (0.15, -0.05),
    "drawer-close-v3": (0.15, -0.05),
    "faucet-open-v3": (0.15, -0.05),
    "handle-press-v3": (0.15, -0.05),
    "lever-pull-v3": (0.15, -0.05),
    "push-v3": (0.15, -0.05),
}

_VERSION = 1
_NEW = "metaworld-new"


def make_env(task: Task, protocol: Protocol, wants: ObservationSpec) -> MetaworldEnv:
    """Build the scene of a task, demonstrated or new."""
    env = MetaworldEnv(task, protocol, wants)
    if task.id.startswith(f"{_NEW}/"):
        env.move_places(*SHIFTS[task.scene])
    return env


def _known(names: tuple[str, ...]) -> tuple[Task, ...]:
    return tuple(SUITE.task(f"{SUITE.id}/{name}") for name in names)


def _new(names: tuple[str, ...]) -> tuple[Task, ...]:
    return tuple(replace(task, id=f"{_NEW}/{task.scene}") for task in _known(names))


def _suite(
    suite_id: str, summary: str, tasks: tuple[Task, ...], *, version: int = _VERSION
) -> Suite:
    return replace(
        SUITE,
        id=suite_id,
        version=version,
        tasks=tasks,
        protocols=(SUITE.protocol("mt50"), SUITE.training_protocol()),
        make_env=make_env,
        bench=None,
        subsets=(),
        summary=summary,
    )


METAWORLD_25 = _suite(
    "metaworld-25", "The 25 tasks that are demonstrated", _known(EXPERT), version=SUITE.version
)
METAWORLD_RL = _suite("metaworld-rl", "Five of them with things elsewhere, for RL", _new(RL))
METAWORLD_UNSEEN = _suite(
    "metaworld-unseen", "Ten more with things elsewhere, for evaluation alone", _new(UNSEEN)
)
METAWORLD_NEW = _suite(
    "metaworld-new", "Both: metaworld-rl and metaworld-unseen", _new(RL + UNSEEN)
)
METAWORLD_SPLIT = _suite(
    "metaworld-split",
    "metaworld-25 and metaworld-new: the 40 tasks of iRe-VLA's comparison",
    _known(EXPERT) + _new(RL + UNSEEN),
)
