"""One LIBERO scene behind the harness's interface."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation, Step
from vlabench.episode import EpisodeSpec
from vlabench.protocol import Protocol
from vlabench.spaces import Camera, ObservationSpec
from vlabench.suite import Task
from vlabench_suites.libero.loading import initial_states, prepare_imports

if TYPE_CHECKING:
    from vlabench_suites.drawing import Painter

PhysicsName = Literal["exact", "reference", "single-solve"]


def make_env(
    task: Task, protocol: Protocol, wants: ObservationSpec, *, physics: PhysicsName = "exact"
) -> "LiberoEnv":
    """Build one scene.

    Args:
        task: Which one.
        protocol: How it settles.
        wants: What `observe` shows.
        physics: `exact` is LIBERO's trajectory to the last bit at several times its speed;
            `reference` steps through LIBERO's own code; `single-solve` is faster and another
            trajectory, for training only.
    """
    prepare_imports()
    chosen = _physics(task.scene, physics, textures=bool(wants.cameras))
    return LiberoEnv(task, protocol, wants, chosen)


def caveats(settings: Mapping[str, Any]) -> list[str]:
    """Say why runs with these settings are not comparable; `reference` and `exact` are equal."""
    if settings.get("physics") == "single-solve":
        return ["physics=single-solve is another trajectory, for training only"]
    return []


class _Names(NamedTuple):
    """Where MuJoCo keeps what privileged policies see, by name."""

    bodies: dict[str, int]
    sites: dict[str, int]
    joints: dict[str, int]


class LiberoEnv:
    """A LIBERO task.

    Initial states are LIBERO's own, but they hold joint positions and velocities only: where the
    fixtures stand is sampled by `reset()` from numpy's global generator. It is therefore seeded
    before every reset, which makes the episode a function of its seed (openvla#342).
    """

    def __init__(
        self, task: Task, protocol: Protocol, wants: ObservationSpec, physics: Any
    ) -> None:
        self._instruction = task.instruction
        self._wants = wants
        self._settle_steps = protocol.settle_steps
        self._settle_action = np.array(protocol.settle_action, dtype=np.float32)
        fixed = protocol.init_states == "fixed"
        self._states = initial_states(task.scene) if fixed else None
        self._physics = physics
        self._placement = b""
        self._model: Any = None
        self._view: Any = None
        self._names: _Names | None = None
        self._painter: Painter | None = None

    def reset(self, episode: EpisodeSpec) -> None:
        state = None if self._states is None else self._states[episode.init_index]
        self._physics.reset(episode.scene_seed, state)
        model = self._physics.model
        if model is not self._model:  # the reference compiles it anew
            self._forget_model()
            self._model = model
        self._placement = model.body_pos.tobytes() + model.body_quat.tobytes()
        for _ in range(self._settle_steps):
            self._physics.step(self._settle_action)
            self._physics.success()

    def step(self, action: NDArray[np.float32]) -> Step:
        self._physics.step(action)
        return Step(self._physics.success())

    def progress(self) -> float:
        """Return the share of the goal's conditions that hold; a goal in BDDL is all of them.

        It is the raw share, with what holds from the beginning: `libero-10/8` starts at 1/3, since
        its stove is on, and `libero-90/38` at 1/2. Most goals are one condition.
        """
        domain = self._physics.domain
        conditions = domain.parsed_problem["goal_state"]
        return sum(map(bool, map(domain._eval_predicate, conditions))) / len(conditions)

    def observe(self) -> Observation:
        return Observation(
            instruction=self._instruction,
            images={camera.name: self.draw(camera) for camera in self._wants.cameras},
            state=self._state() if self._wants.state_size else np.zeros(0, dtype=np.float32),
            privileged=self._privileged() if self._wants.privileged else {},
        )

    def draw(self, camera: Camera) -> NDArray[np.uint8]:
        from vlabench_suites.drawing import Painter

        if not self._wants.cameras:
            raise ValueError("this scene was built for a policy that looks at no picture")
        if self._painter is None:
            self._painter = Painter(self._model, collision_shapes=False)
        return self._painter.draw(self._looked_at(), camera)

    def state_bytes(self) -> bytes:
        data = self._physics.data
        return b"".join((self._placement, data.qpos.tobytes(), data.qvel.tobytes()))

    def close(self) -> None:
        self._forget_model()
        physics, self._physics = self._physics, None
        if physics is not None:
            physics.close()

    def _looked_at(self) -> Any:
        """Return what observations and pictures show, a `mujoco.MjData`: see `Seen`."""
        seen = self._physics.seen
        if seen is None:
            return self._physics.data
        import mujoco

        if self._view is None:
            self._view = mujoco.MjData(self._model)
        self._view.qpos[:] = seen.kinematics
        mujoco.mj_kinematics(self._model, self._view)
        mujoco.mj_comPos(self._model, self._view)
        mujoco.mj_camlight(self._model, self._view)
        self._view.qpos[:] = seen.positions
        return self._view

    def _forget_model(self) -> None:
        self._model = self._view = self._names = None
        if self._painter is not None:
            self._painter.close()
            self._painter = None

    def _state(self) -> NDArray[np.float32]:
        """Return what openpi and OpenVLA-OFT call the state, `[8]`."""
        from robosuite.utils.transform_utils import convert_quat, quat2axisangle

        data, robot = self._looked_at(), self._physics.domain.robots[0]
        hand = self._model.body(robot.robot_model.eef_name).id
        quat = convert_quat(data.xquat[hand], to="xyzw")
        fingers = data.qpos[robot._ref_gripper_joint_pos_indexes]
        position = data.site_xpos[robot.eef_site_id]
        return np.concatenate([position, quat2axisangle(quat), fingers]).astype(np.float32)

    def _privileged(self) -> dict[str, NDArray[np.float64]]:
        """Return things, places on them and the gripper, `[7]`; joints, `[1]`; `qpos`, `[nq]`."""
        import mujoco

        data = self._looked_at()
        if self._names is None:
            self._names = _privileged_names(self._physics.domain, self._model)
        shown = {
            name: np.concatenate([data.xpos[body], data.xquat[body]])
            for name, body in self._names.bodies.items()
        }
        for name, site in self._names.sites.items():
            shown[name] = pose = np.empty(7)
            pose[:3] = data.site_xpos[site]
            mujoco.mju_mat2Quat(pose[3:], data.site_xmat[site])
        for name, address in self._names.joints.items():
            shown[name] = data.qpos[address : address + 1].copy()
        shown["qpos"] = data.qpos.copy()
        return shown


def _privileged_names(domain: Any, model: Any) -> _Names:
    """Find things, the places that belong to one or that the goal names, and fixtures' joints."""
    goal = {word for clause in domain.parsed_problem["goal_state"] for word in clause}
    places = [
        name
        for name, place in domain.object_sites_dict.items()
        if place.parent_name is not None or name in goal
    ]
    sites = {name: model.site(name).id for name in places}
    grip = domain.robots[0].eef_site_id
    hinges = [
        joint
        for joint in map(model.joint, range(model.njnt))
        if joint.name.startswith(tuple(domain.fixtures_dict))
    ]
    return _Names(
        bodies=dict(domain.obj_body_id),
        sites={**sites, "gripper": grip},
        joints={joint.name: int(joint.qposadr[0]) for joint in hinges},
    )


def _physics(scene: str, name: PhysicsName, *, textures: bool) -> Any:
    if name == "reference":
        from vlabench_suites.libero.reference import ReferencePhysics

        return ReferencePhysics(scene)
    from vlabench_suites.libero.fast import FastPhysics

    return FastPhysics(scene, name, textures=textures)
