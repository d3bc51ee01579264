"""The unit of evaluation: one planned attempt at one task."""

from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSpec:
    """One planned attempt at one task, fixed before any policy is loaded.

    Attributes:
        task_id: Which task of the suite.
        init_index: Which of the task's initial states.
        repeat: Which attempt at that same initial state, with other draws of the policy.
        scene_seed: Seeds the simulator before this episode's reset, `[0, 2**32)`.
        policy_seed: Seeds every draw that the policy makes in this episode, `[0, 2**32)`.
    """

    task_id: str
    init_index: int
    repeat: int = 0
    scene_seed: int
    policy_seed: int

    @property
    def key(self) -> str:
        """Name of this episode, the same in every run of the plan."""
        return f"{self.task_id}#{self._place}"

    @property
    def file_stem(self) -> str:
        """The same as the name of a file."""
        return f"{self.task_file}-{self._place}"

    @property
    def task_file(self) -> str:
        """The task's id as the name of a file or folder.

        The slash behind the suite becomes a hyphen; signs behind it that a file's name cannot keep,
        or that would make two names one, are written as in URLs. Of a very long name this is the
        beginning and a digest.
        """
        suite, slash, task = self.task_id.partition("/")
        name = suite + slash.replace("/", "-") + "".join(_KEPT.get(sign, sign) for sign in task)
        content = name.encode("utf-8", "replace")
        if len(content) <= _MOST_BYTES:
            return name
        return f"{name[: _MOST_BYTES // 8]}-{blake2b(content, digest_size=8).hexdigest()}"

    @property
    def _place(self) -> str:
        return f"{self.init_index}{f'r{self.repeat}' if self.repeat else ''}"


_KEPT = {sign: f"%{ord(sign):02X}" for sign in "%/#\\\0"}
_MOST_BYTES = 200
"""Of a name of a file, which may have 255 on most file systems, less what comes behind it."""
