"""Meta-World: 50 tasks of a Sawyer arm at a table (Yu et al., 2019, arXiv 1910.10897; v3).

Where an episode's objects and goal are is drawn anew from its seed, as Meta-World does when its
`seeded_rand_vec` is set. Its own MT50 draws 50 places a task once and chooses among them.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation, Step
from vlabench.episode import EpisodeSpec
from vlabench.measurement import Measurement, Say
from vlabench.protocol import Protocol
from vlabench.spaces import ActionSpec, Camera, Gripper, ObservationSpec, Quality, Rotation
from vlabench.suite import Suite, Task
from vlabench_suites.drawing import check_environment, require_gl

if TYPE_CHECKING:
    from vlabench_suites.drawing import Painter

# In Meta-World's own order. The sentences are those that lerobot's datasets carry, and policies
# are trained on, after the task descriptions in appendix A of the paper.
_INSTRUCTIONS = {
    "assembly-v3": "Pick up a nut and place it onto a peg",
    "basketball-v3": "Dunk the basketball into the basket",
    "bin-picking-v3": "Grasp the puck from one bin and place it into another bin",
    "box-close-v3": "Grasp the cover and close the box with it",
    "button-press-topdown-v3": "Press a button from the top",
    "button-press-topdown-wall-v3": "Bypass a wall and press a button from the top",
    "button-press-v3": "Press a button",
    "button-press-wall-v3": "Bypass a wall and press a button",
    "coffee-button-v3": "Push a button on the coffee machine",
    "coffee-pull-v3": "Pull a mug from a coffee machine",
    "coffee-push-v3": "Push a mug under a coffee machine",
    "dial-turn-v3": "Rotate a dial 180 degrees",
    "disassemble-v3": "Pick a nut out of a peg",
    "door-close-v3": "Close a door with a revolving joint",
    "door-lock-v3": "Lock the door by rotating the lock clockwise",
    "door-open-v3": "Open a door with a revolving joint",
    "door-unlock-v3": "Unlock the door by rotating the lock counter-clockwise",
    "hand-insert-v3": "Insert the gripper into a hole",
    "drawer-close-v3": "Push and close a drawer",
    "drawer-open-v3": "Open a drawer",
    "faucet-open-v3": "Rotate the faucet counter-clockwise",
    "faucet-close-v3": "Rotate the faucet clockwise",
    "hammer-v3": "Hammer a screw on the wall",
    "handle-press-side-v3": "Press a handle down sideways",
    "handle-press-v3": "Press a handle down",
    "handle-pull-side-v3": "Pull a handle up sideways",
    "handle-pull-v3": "Pull a handle up",
    "lever-pull-v3": "Pull a lever down 90 degrees",
    "pick-place-wall-v3": "Pick a puck, bypass a wall and place the puck",
    "pick-out-of-hole-v3": "Pick up a puck from a hole",
    "pick-place-v3": "Pick and place a puck to a goal",
    "plate-slide-v3": "Slide a plate into a cabinet",
    "plate-slide-side-v3": "Slide a plate into a cabinet sideways",
    "plate-slide-back-v3": "Get a plate from the cabinet",
    "plate-slide-back-side-v3": "Get a plate from the cabinet sideways",
    "peg-insert-side-v3": "Insert a peg sideways",
    "peg-unplug-side-v3": "Unplug a peg sideways",
    "soccer-v3": "Kick a soccer into the goal",
    "stick-push-v3": "Grasp a stick and push a box using the stick",
    "stick-pull-v3": "Grasp a stick and pull a box with the stick",
    "push-v3": "Push the puck to a goal",
    "push-wall-v3": "Bypass a wall and push a puck to a goal",
    "push-back-v3": "Push the puck to a goal",
    "reach-v3": "Reach a goal position",
    "reach-wall-v3": "Bypass a wall and reach a goal",
    "shelf-place-v3": "Pick and place a puck onto a shelf",
    "sweep-into-v3": "Sweep a puck into a hole",
    "sweep-v3": "Sweep a puck off the table",
    "window-open-v3": "Push and open a window",
    "window-close-v3": "Push and close a window",
}

# MT10_V3, ML10_V3 and ML45_V3 of env_dict.py in Farama-Foundation/Metaworld 3.1.1. Our places are
# drawn anew from each episode's seed, where Meta-World's benchmarks fix 50 a task.
_ML45_TEST = ("bin-picking-v3", "box-close-v3", "hand-insert-v3", "door-lock-v3", "door-unlock-v3")
_SUBSETS = (
    ("mt10", "reach-v3,push-v3,pick-place-v3,door-open-v3,drawer-open-v3,drawer-close-v3,"
             "button-press-topdown-v3,peg-insert-side-v3,window-open-v3,window-close-v3"),
    ("mt50", "*"),
    ("ml10-train", "reach-v3,push-v3,pick-place-v3,door-open-v3,drawer-close-v3,"
                   "button-press-topdown-v3,peg-insert-side-v3,window-open-v3,sweep-v3,"
                   "basketball-v3"),
    ("ml10-test", "drawer-open-v3,door-close-v3,shelf-place-v3,sweep-into-v3,lever-pull-v3"),
    ("ml45-train", ",".join(name for name in _INSTRUCTIONS if name not in _ML45_TEST)),
    ("ml45-test", ",".join(_ML45_TEST)),
)  # fmt: skip

# `corner4` is `corner2` moved to [0.75, 0.075, 0.7], nearer to the table.
_FAR, _NEAR = "corner2", "corner4"
# Meta-World hangs these head down; what is shown is turned by 180°, so that it is upright.
_HEAD_DOWN = frozenset({"corner", "corner2", "corner3", "corner4"})


def _cameras(name: str, *sizes: int) -> tuple[Camera, ...]:
    return tuple(
        Camera(name=name, height=size, width=size, quality=quality)
        for size in sizes
        for quality in Quality
    )


_MT50 = Protocol(
    id="mt50",
    version=1,
    episodes_per_task=50,
    horizons=(("metaworld", 500), ("metaworld-new", 500)),
    init_states="sampled",
    action=ActionSpec(size=4, delta=True, rotation=Rotation.NONE, gripper=Gripper.CLOSE_POSITIVE),
    observation=ObservationSpec(
        cameras=_cameras(_FAR, 480, 128, 64) + _cameras(_NEAR, 480, 128, 64),
        state="hand-and-gripper",
        state_size=4,
        privileged=True,
    ),
    simulator=(("metaworld", "3.1.1"), ("mujoco", "3.3.0")),
    source="Farama-Foundation/Metaworld 3.1.1: max_path_length, metaworld/evaluation.py (an "
    "episode succeeds at the first step that does); seeded_rand_vec as in Metaworld#370",
)
# lerobot sets a task of MT1(seed=42) first, which decides nothing once the places are drawn anew,
# and moves `corner2` to where `corner4` is: both give the same bits, which the tests check.
_LEROBOT = replace(
    _MT50,
    id="lerobot",
    episodes_per_task=10,
    observation=replace(_MT50.observation, cameras=(Camera(name=_NEAR, height=480, width=480),)),
    source="huggingface/lerobot @ 7427f31 (0.6.2), src/lerobot/envs/metaworld.py, seeded as in "
    "lerobot#3727; 10 episodes a task as in SmolVLA (arXiv 2506.01844)",
)


_TRAINING = replace(
    _MT50,
    id="training",
    purpose="training",
    source="as mt50, with places drawn from seeds of its own: for demonstrations and training",
)


class MetaworldEnv:
    """A Meta-World task behind the harness's interface: its own classes, less what changes nothing.

    An episode depends on its seed alone: `reset()` clears MuJoCo's data before it places things
    for good, and none of the 50 tasks was seen to keep anything else.

    What is shown before the first step is Meta-World's, faults included: in seven tasks (dial-turn,
    door-lock, drawer-open, faucet-open, lever-pull, window-open and window-close) the handle is
    shown up to 20 cm from where it is, because nothing recomputes it after it was placed.
    """

    def __init__(self, task: Task, protocol: Protocol, wants: ObservationSpec) -> None:
        self._instruction = task.instruction
        self._wants = wants
        self._simulator = make_simulator(task.scene)
        _move_quickly(self._simulator)
        _observe_quickly(self._simulator)
        _leave_out_rewards(self._simulator, shows_objects=wants.privileged)
        self._painter: Painter | None = None
        self._observed = np.zeros(0)
        self._scene = b""

    def move_places(self, x: float, y: float) -> None:
        """Move the boxes that places are drawn from by `x` (right) and `y` (away), in metres.

        A place is three numbers. Tasks that draw two of them, mostly object and goal, have both
        moved alike. What a task leaves where it is, it leaves there still.
        """
        simulator = self._simulator
        # Goals are clipped to theirs after each step, so what is seen of a goal moves with it.
        for space in (simulator._random_reset_space, simulator.goal_space):
            move = np.tile([x, y, 0.0], space.low.size // 3)
            space.low, space.high = space.low + move, space.high + move
        vars(simulator).pop("sawyer_observation_space", None)  # computed from the goal's, once

    def reset(self, episode: EpisodeSpec) -> None:
        self._simulator.seed(episode.scene_seed)  # reset() takes a seed and ignores it
        self._observed, _ = self._simulator.reset()
        model = self._simulator.model
        places = (model.body_pos, model.body_quat, model.site_pos, self._simulator._target_pos)
        digest = hashlib.blake2b(digest_size=16)
        for place in places:
            digest.update(place.tobytes())
        self._scene = digest.digest()

    def step(self, action: NDArray[np.float32]) -> Step:
        self._observed, _, _, truncated, info = self._simulator.step(action)
        return Step(bool(info["success"]), done=truncated, timed_out=truncated)

    def observe(self) -> Observation:
        return Observation(
            instruction=self._instruction,
            images={camera.name: self.draw(camera) for camera in self._wants.cameras},
            state=self._observed[: self._wants.state_size].astype(np.float32),
            privileged=_privileged(self._observed.copy()) if self._wants.privileged else {},
        )

    def draw(self, camera: Camera) -> NDArray[np.uint8]:
        from vlabench_suites.drawing import Painter

        if self._painter is None:
            self._painter = Painter(self._simulator.model)
        image = self._painter.draw(self._simulator.data, camera)
        if camera.name in _HEAD_DOWN:
            return np.ascontiguousarray(image[::-1, ::-1])
        return image

    def state_bytes(self) -> bytes:
        """Return where the fixtures and the goal are (hashed), positions, velocities, mocap."""
        data = self._simulator.data
        return b"".join(
            (
                self._scene,
                data.qpos.tobytes(),
                data.qvel.tobytes(),
                data.mocap_pos.tobytes(),
            )
        )

    def close(self) -> None:
        painter, self._painter = self._painter, None
        if painter is not None:
            painter.close()


def _privileged(observed: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return Meta-World's own observation, `[39]`, and its parts by name.

    Quaternions are in the order in which Meta-World has them, which differs between tasks.
    """
    shown = {"observation": observed}
    for name, begin in (("object 1", 4), ("object 2", 11)):
        if observed[begin : begin + 7].any():
            shown[name] = observed[begin : begin + 7].copy()
    upright = (1.0, 0.0, 0.0, 0.0)
    shown["goal"] = np.array([*observed[36:39], *upright])
    shown["gripper"] = np.array([*observed[:3], *upright])
    return shown


def make_simulator(name: str) -> Any:
    """Construct Meta-World's environment of one task, set up as `set_task` would."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    simulator = ALL_V3_ENVIRONMENTS[name]()
    simulator._partially_observable = False
    # Kept from when the goal was hidden: with it, every step would clip the goal to zero.
    del simulator.sawyer_observation_space
    simulator._set_task_called = True
    simulator._freeze_rand_vec = False
    simulator.seeded_rand_vec = True
    return simulator


def _move_quickly(simulator: Any) -> None:
    """Step MuJoCo as gymnasium's `do_simulation` does, but for forces that nobody reads."""
    import mujoco

    model, data = simulator.model, simulator.data

    def simulate(ctrl: Sequence[float], n_frames: int) -> None:
        data.ctrl[:] = ctrl
        mujoco.mj_step(model, data, nstep=n_frames)

    simulator.do_simulation = simulate


def _observe_quickly(simulator: Any) -> None:
    """Put observations together as `_get_curr_obs_combined_no_goal` does, without its lookups."""
    hand, right, left = (
        simulator.data.body(name).xpos for name in ("hand", "rightclaw", "leftclaw")
    )

    def observation() -> NDArray[np.float64]:
        apart = right - left
        observed = np.zeros(4 + simulator._obs_obj_max_len)
        observed[:3] = hand
        observed[3] = min(max(np.sqrt(apart.dot(apart)) / 0.1, 0.0), 1.0)
        places, orientations = simulator._get_pos_objects(), simulator._get_quat_objects()
        for number in range(len(places) // 3):
            begin = 4 + 7 * number
            observed[begin : begin + 3] = places[3 * number : 3 * number + 3]
            observed[begin + 3 : begin + 7] = orientations[4 * number : 4 * number + 4]
        return observed

    simulator._get_curr_obs_combined_no_goal = observation


def _leave_out_rewards(simulator: Any, *, shows_objects: bool) -> None:
    """Spare each step what neither moves anything nor decides on success nor is shown.

    Success is judged by distances and, in one task, by whether the fingers press the object.
    Meta-World computes it together with a dense reward, most of which is about the grasp.
    Orientations of objects serve that reward, and policies that see the whole observation.
    """
    simulator._gripper_caging_reward = lambda *_, **__: 0.0
    pads = [simulator.data.geom(f"{side}pad_geom").id for side in ("left", "right")]
    simulator.touching_object = lambda number: _pressed(simulator.data, pads, number)
    if not shows_objects:
        orientations = simulator._get_quat_objects()
        simulator._get_quat_objects = lambda: orientations


def _pressed(data: Any, pads: Sequence[int], number: int) -> bool:
    """Say whether all `pads` push against a geom: `touching_object`, with fewer lookups."""
    touching = data.contact.geom.tolist()
    forces = [0.0] * len(pads)
    for contact, pair in enumerate(touching):
        if number in pair:
            for finger, pad in enumerate(pads):
                if pad in pair:
                    forces[finger] += data.efc_force[data.contact.efc_address[contact]]
    return all(force > 0 for force in forces)


def _bench(rounds: int, say: Say) -> Iterator[Measurement]:
    from vlabench_suites.metaworld_bench import bench

    return bench(SUITE, rounds, say)


SUITE = Suite(
    id="metaworld",
    version=1,
    tasks=tuple(
        Task(id=f"metaworld/{name}", instruction=instruction, scene=name)
        for name, instruction in _INSTRUCTIONS.items()
    ),
    protocols=(_MT50, _LEROBOT, _TRAINING),
    make_env=MetaworldEnv,
    film=Camera(name=_NEAR, height=320, width=320, quality=Quality.FAST),
    packages=(("metaworld", "metaworld"), ("mujoco", "metaworld")),
    distributions=("metaworld", "mujoco", "gymnasium"),
    drawing=require_gl,
    environment=check_environment,
    bench=_bench,
    subsets=_SUBSETS,
    summary="Meta-World's 50 tasks of a Sawyer arm, objects and goals drawn from the seed; "
    "also --tasks mt10, ml10-test, ml45-test",
)
