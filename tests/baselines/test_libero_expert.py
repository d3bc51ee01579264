"""The expert reads goals and poses rightly, and solves LIBERO's tasks from states it never saw."""

from typing import Any

import numpy as np
import pytest

from vlabench import Outcome, SerialRunner, Stage, load_policy, load_suite, make_plan
from vlabench.errors import SpecMismatchError
from vlabench.testing import check_policy
from vlabench_baselines.experts.libero.fixtures import CloseDrawer, OpenDrawer
from vlabench_baselines.experts.libero.goal import Clause, goal_of, kind, parse_goal
from vlabench_baselines.experts.libero.grasps import GRASPS, holds, lying
from vlabench_baselines.experts.libero.motion import (
    CLOSE,
    DOWN,
    Pose,
    about,
    comfortable,
    facing,
    matrix_of,
    off_by,
    pose_of,
    rotation_vector,
    servo,
    slanting,
)
from vlabench_baselines.experts.libero.places import fixture_of
from vlabench_baselines.experts.libero.policy import plan
from vlabench_baselines.experts.libero.scene import Scene, clearance
from vlabench_baselines.experts.libero.shapes import PARTS, Box, box_of, touch
from vlabench_baselines.experts.libero.skills import Carry, MoveAside, Progress

SUITE = load_suite("libero")
X, Z = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])


def cube(x: float, *, half: float = 0.05, top: float = 0.1) -> Box:
    return Box(np.array([x, 0.0, top - half]), np.eye(3), np.full(3, half))


def at(*position: float) -> Pose:
    return Pose(np.array(position), np.eye(3))


def scene(poses: dict[str, Pose], joints: dict[str, float] | None = None) -> Scene:
    boxes = {
        name: tuple(box_of(pose, part) for part in PARTS[kind(name)])
        for name, pose in poses.items()
        if kind(name) in PARTS
    }
    grip = Pose(np.array([-0.2, 0.0, 1.2]), facing(0.0))
    return Scene(poses=poses, joints=joints or {}, grip=grip, width=0.08, boxes=boxes)


def cabinet_scene(slide: float, bowl_y: float) -> Scene:
    cabinet = Pose(np.array([0.0, -0.25, 0.9]), matrix_of(np.array([0.0, 0.0, 0.0, 1.0])))
    poses = {
        "wooden_cabinet_1": cabinet,
        "wooden_cabinet_1_top_region": cabinet,
        "akita_black_bowl_1": at(0.0, bowl_y, 0.9),
    }
    return scene(poses, {"wooden_cabinet_1_top_level": slide})


def test_a_goal_is_read_condition_by_condition() -> None:
    text = """(define (:init (On plate_1 table)) (:goal
        (And (Turnon flat_stove_1) (In bowl_1 cabinet_1_top_region)) ) )"""
    assert parse_goal(text) == (
        Clause("turnon", ("flat_stove_1",)),
        Clause("in", ("bowl_1", "cabinet_1_top_region")),
    )


def test_a_text_without_a_goal_is_refused() -> None:
    with pytest.raises(ValueError, match="has no goal"):
        parse_goal("(define (problem LIBERO))")


def test_a_scene_that_does_not_exist_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="libero_goal/nothing"):
        goal_of("libero_goal/nothing")


@pytest.mark.parametrize(
    ("name", "owner", "rest"),
    [
        ("wooden_cabinet_1_top_region", "wooden_cabinet_1", "top_region"),
        ("plate_1", "plate_1", ""),
        ("main_table_stove_front_region", "", "main_table_stove_front_region"),
    ],
)
def test_regions_know_whose_they_are(name: str, owner: str, rest: str) -> None:
    assert fixture_of(name) == (owner, rest)


def test_a_rotation_vector_undoes_what_about_did() -> None:
    axis = np.array([0.48, -0.6, 0.64])
    for angle in (0.0, 1e-3, 1.0, 3.0, np.pi):
        back = rotation_vector(about(axis, angle))
        assert about(axis, float(np.linalg.norm(back))) == pytest.approx(about(axis, angle))
        assert abs(back @ axis) == pytest.approx(angle, abs=1e-6)


def test_a_quaternion_becomes_its_matrix() -> None:
    turned = pose_of(np.array([1.0, 2.0, 3.0, np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)]))
    assert turned.rotation == pytest.approx(about(Z, np.pi / 2))
    assert turned.of(X) == pytest.approx([1.0, 3.0, 3.0])


def test_the_gripper_points_down_and_its_slant_points_where_it_was_told() -> None:
    assert facing(0.3)[:, 2] == pytest.approx(DOWN)
    slanted = slanting(X, np.deg2rad(30))
    assert slanted[:, 2] == pytest.approx([0.5, 0.0, -np.sqrt(0.75)])
    assert slanted @ slanted.T == pytest.approx(np.eye(3))
    assert slanted[1, 0] == pytest.approx(0.0)  # closes in the plane it slants in


def test_half_a_turn_of_the_gripper_is_none() -> None:
    for yaw in np.linspace(-7.0, 7.0, 29):
        chosen = comfortable(float(yaw))
        assert np.deg2rad(-60) <= chosen < np.deg2rad(120)
        assert np.sin(chosen - yaw) == pytest.approx(0.0, abs=1e-9)


def test_servoing_goes_straight_within_the_limits_of_an_action() -> None:
    target = Pose(np.array([1.0, 0.5, 0.0]), facing(0.1))
    action = servo(at(0.0, 0.0, 0.0), Pose(target.position, np.eye(3)), CLOSE)
    assert action == pytest.approx([1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 1.0])
    assert servo(target, target, CLOSE)[:6] == pytest.approx(np.zeros(6))
    assert off_by(target, target) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_boxes_touch_when_they_overlap_however_they_are_turned() -> None:
    turned = Box(np.array([0.115, 0.0, 0.05]), about(Z, np.pi / 4), np.full(3, 0.05))
    assert touch(cube(0.0), turned)
    assert not touch(cube(0.0), cube(0.115))


def test_what_stands_in_the_way_is_passed_over_and_what_is_at_the_goal_is_not() -> None:
    start, goal = np.array([0.0, 0.0, 0.0]), np.array([0.6, 0.0, 0.0])

    def height(x: float) -> float:
        return clearance(start, goal, [cube(x)], radius=0.05, near=0.1)

    assert height(0.05) == pytest.approx(0.1)
    assert -np.inf < height(0.4) < height(0.2) < 0.1  # there is time to climb
    assert height(0.65) == -np.inf
    assert height(-0.2) == -np.inf


def test_a_gripper_that_gets_nowhere_is_noticed_and_one_that_moves_or_turns_is_not() -> None:
    stuck, moving, turning = Progress(), Progress(), Progress()
    still = [stuck.stalled(at(0.002 * (step % 2), 0.0, 0.0)) for step in range(20)]
    assert still.index(True) == 14
    assert not any(moving.stalled(at(0.002 * step, 0.0, 0.0)) for step in range(40))
    poses = [Pose(np.zeros(3), facing(0.02 * step)) for step in range(40)]
    assert not any(turning.stalled(pose) for pose in poses)


@pytest.mark.parametrize("name", sorted(GRASPS))
def test_everything_that_stands_can_be_held_from_above(name: str) -> None:
    found = holds(at(0.0, 0.0, 1.0), GRASPS[name])
    assert found
    for hold in found:
        assert hold.on(at(0.0, 0.0, 1.0)).rotation[:, 2] == pytest.approx(DOWN)


def test_nothing_is_carried_whose_size_is_not_known() -> None:
    assert set(GRASPS) <= set(PARTS)


def test_what_has_fallen_over_is_held_across_unless_it_is_too_wide() -> None:
    fallen = Pose(np.array([0.0, 0.0, 1.0]), about(X, np.pi / 2))
    (bottle,) = PARTS["wine_bottle"]
    (book,) = PARTS["black_book"]
    assert lying(fallen, box_of(fallen, bottle))
    on_its_side = Pose(fallen.position, about(np.array([0.0, 1.0, 0.0]), np.pi / 2))
    assert not lying(on_its_side, box_of(on_its_side, book))


def test_a_drawer_is_opened_only_where_it_is_shut() -> None:
    goal = [Clause("in", ("akita_black_bowl_1", "wooden_cabinet_1_top_region"))]
    shut = plan(goal, cabinet_scene(0.0, bowl_y=0.3))
    assert [type(skill) for skill in shut] == [OpenDrawer, Carry]
    opened = plan(goal, cabinet_scene(-0.15, bowl_y=0.3))
    assert [type(skill) for skill in opened] == [Carry]


def test_what_the_drawer_would_cover_is_moved_aside_first() -> None:
    goal = [Clause("in", ("akita_black_bowl_1", "wooden_cabinet_1_top_region"))]
    first = plan(goal, cabinet_scene(0.0, bowl_y=-0.08))[0]
    assert isinstance(first, MoveAside)


def test_drawers_are_closed_last_and_what_no_skill_can_do_is_left_out() -> None:
    goal = [
        Clause("close", ("wooden_cabinet_1_top_region",)),
        Clause("in", ("akita_black_bowl_1", "wooden_cabinet_1_top_region")),
        Clause("stack", ("akita_black_bowl_1", "moon_1")),
        Clause("on", ("piano_1", "wooden_cabinet_1_top_side")),
    ]
    skills = plan(goal, cabinet_scene(-0.15, bowl_y=0.3))
    assert [type(skill) for skill in skills] == [Carry, CloseDrawer]


def test_another_suite_is_refused_in_words_that_help() -> None:
    with pytest.raises(SpecMismatchError, match=r"'libero-expert'.*'point-reach'.*--suite"):
        load_policy("libero-expert", load_suite("point-reach"))


@pytest.fixture
def libero() -> Any:
    return pytest.importorskip("libero", reason="needs the extra: libero")


@pytest.mark.sim
def test_it_keeps_the_contract(libero: Any) -> None:
    check_policy(load_policy("libero-expert", SUITE), SUITE, task_id="libero-goal/7")


@pytest.mark.sim
@pytest.mark.parametrize(
    "task_id", ["libero-spatial/0", "libero-object/5", "libero-goal/0", "libero-10/9"]
)
def test_it_solves_a_task_of_each_kind(task_id: str, libero: Any) -> None:
    episodes = make_plan(SUITE, "training", tasks=task_id, episodes=1).episodes
    policy = load_policy("libero-expert", SUITE, SUITE.protocol("training"))
    stage = Stage(suite=SUITE, protocol=SUITE.protocol("training"), wants=policy.observation)
    (record,) = SerialRunner().run(stage, policy, episodes)
    assert record.outcome is Outcome.SUCCESS, record.error
    assert record.progress == 1.0
