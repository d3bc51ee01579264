"""Which episodes to run. Two policies are comparable when they ran the same plan."""

import hashlib
import json
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from vlabench.episode import EpisodeSpec
from vlabench.errors import PlanError, close_name
from vlabench.protocol import Protocol
from vlabench.suite import Suite, Task

_MOST_EPISODES = 2_000_000
"""Of a plan, which is in memory as a whole: half a gigabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What was asked for; with the suite, enough to make the plan again.

    Attributes:
        tasks: Glob over task ids; the part after the slash may be matched alone.
        episodes: Initial states per task, from 0 up.
        repeats: Episodes per initial state, with other draws of the policy.
        seed: Root of every seed of the plan.
    """

    tasks: str = "*"
    episodes: int
    repeats: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every episode of an evaluation, in order.

    Attributes:
        suite_id: The suite.
        suite_version: Its version.
        protocol: Name and version of the rules, `openvla@1`.
        request: What was asked for.
        episodes: What has to be run.
    """

    suite_id: str
    suite_version: int
    protocol: str
    request: PlanRequest
    episodes: tuple[EpisodeSpec, ...]

    @property
    def digest(self) -> str:
        """Hash of the episodes and rules; equal digests mean the same episodes and seeds."""
        content = asdict(self)
        del content["request"], content["suite_id"]  # two ways to ask for the same episodes
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_plan(
    suite: Suite,
    protocol: str | None = None,
    *,
    tasks: str = "*",
    episodes: int | None = None,
    repeats: int = 1,
    seed: int = 0,
) -> Plan:
    """Plan `episodes` initial states of every task that `tasks` matches, from state 0 up.

    A seed depends on what the episode is, not on when or where it runs, so adding a task,
    sharding or resuming never changes the others.

    Args:
        suite: Whose tasks.
        protocol: Name of the rules; the suite's default when None.
        tasks: Glob over task ids (`libero-goal/*`) or over the part after the slash (`reach-v3`),
            or the name of one of the suite's subsets (`mt10`); several are separated by commas.
        episodes: Initial states per task; the protocol's own number when None.
        repeats: Episodes per initial state, which differ in the policy's draws only.
        seed: Root of every seed.

    Raises:
        PlanError: If a number is out of range, nothing matches, or a task has fewer fixed initial
            states than asked for: they are never reused silently.
        UnknownNameError: If the suite has no such protocol.
    """
    rules = suite.protocol(protocol)
    count = rules.episodes_per_task if episodes is None else episodes
    for name, value, least in (("episodes", count, 1), ("repeats", repeats, 1), ("seed", seed, 0)):
        if value < least:
            raise PlanError(f"{name} is {value}; it must be at least {least}")
    chosen = _matching(suite, tasks)
    if (planned := len(chosen) * count * repeats) > _MOST_EPISODES:
        raise PlanError(
            f"{len(chosen)} tasks, {count} episodes of each and {repeats} repeats are {planned} "
            f"episodes; at most {_MOST_EPISODES} can be planned"
        )
    for task in chosen:
        if rules.init_states == "fixed" and task.num_inits is not None and task.num_inits < count:
            raise PlanError(
                f"task {task.id!r} has {task.num_inits} initial states and {count} episodes were "
                f"asked for; ask for at most {task.num_inits} (use repeats to run a state again)"
            )
    return Plan(
        suite_id=suite.id,
        suite_version=suite.version,
        protocol=rules.name,
        request=PlanRequest(tasks=tasks, episodes=count, repeats=repeats, seed=seed),
        episodes=tuple(
            _episode(suite, rules, task, init_index, repeat, seed)
            for task in chosen
            for init_index in range(count)
            for repeat in range(repeats)
        ),
    )


def interleave(plan: Plan) -> tuple[tuple[EpisodeSpec, ...], ...]:
    """Return a plan's episodes in blocks, so that any number of first blocks is a balanced sample.

    A block has one initial state of every task, with all repeats of it. Which state comes when is
    drawn for each task, by the plan's seed: what is stored first may be what is easy.
    """
    by_task: dict[str, dict[int, list[EpisodeSpec]]] = {}
    for episode in plan.episodes:
        states = by_task.setdefault(episode.task_id, {})
        states.setdefault(episode.init_index, []).append(episode)

    def place(state: list[EpisodeSpec]) -> int:
        return _seed(f"order/{state[0].task_id}#{state[0].init_index}/{plan.request.seed}")

    orders = [sorted(states.values(), key=place) for states in by_task.values()]
    return tuple(
        tuple(episode for state in block for episode in state)
        for block in zip(*orders, strict=True)
    )


def _matching(suite: Suite, globs: str) -> list[Task]:
    subsets = dict(suite.subsets)
    asked = [part.strip() for part in globs.split(",") if part.strip()]
    patterns = [
        glob for part in asked for glob in subsets.get(part.lower(), part).split(",") if glob
    ]
    chosen = [task for task in suite.tasks if any(_matches(task, p) for p in patterns)]
    unused = [p for p in patterns if not any(_matches(task, p) for task in suite.tasks)]
    if unused or not chosen:
        missing = (unused or [globs])[0]
        names = [name for task in suite.tasks for name in (task.id, task.id.partition("/")[2])]
        close = close_name(missing, [*names, *subsets])
        hint = f". Did you mean {close!r}? See" if close else "; see"
        raise PlanError(
            f"no task of suite {suite.id!r} matches {missing!r}{hint}: "
            f"vlabench list tasks --suite {suite.id}"
        )
    return chosen


def _matches(task: Task, pattern: str) -> bool:
    return fnmatchcase(task.id, pattern) or fnmatchcase(task.id.partition("/")[2], pattern)


def _episode(
    suite: Suite, rules: Protocol, task: Task, init_index: int, repeat: int, seed: int
) -> EpisodeSpec:
    scene = f"{task.id}@{suite.version}#{init_index}/{seed}"
    if rules.purpose == "training":  # so that no evaluation, whatever its seed, shares a scene
        scene = f"training/{scene}"
    return EpisodeSpec(
        task_id=task.id,
        init_index=init_index,
        repeat=repeat,
        scene_seed=_seed(f"scene/{scene}"),
        policy_seed=_seed(f"policy/{scene}/{repeat}"),
    )


def _seed(identity: str) -> int:
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big")
