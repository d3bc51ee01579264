"""A policy that does not fit is refused before the first episode, with all that is wrong."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlabench import ActionSpec, Camera, Gripper, ObservationSpec, Orientation, Rotation
from vlabench.errors import SpecMismatchError
from vlabench.spaces import Quality, check_match

# 50 examples, and no deadline: on a busy machine any call may take long.
property_test = settings(deadline=None, max_examples=50)
SIZES = st.integers(1, 1024)
cameras = st.builds(
    Camera,
    name=st.sampled_from(["front", "wrist", "top"]),
    height=SIZES,
    width=SIZES,
    orientation=st.sampled_from(Orientation),
    quality=st.sampled_from(Quality),
)
observations = st.builds(
    ObservationSpec,
    cameras=st.lists(cameras, max_size=4, unique=True).map(tuple),
    state=st.text(min_size=1, max_size=5),
    state_size=st.integers(1, 9),
    privileged=st.booleans(),
)
BOUNDS = st.floats(-10, 10)
actions = st.builds(
    ActionSpec,
    size=st.integers(1, 32),
    delta=st.booleans(),
    rotation=st.sampled_from(Rotation),
    gripper=st.sampled_from(Gripper),
    low=BOUNDS,
    high=BOUNDS,
)

CAMERA = Camera(name="front", height=256, width=128)
SHOWN = ObservationSpec(cameras=(CAMERA,), state="joints", state_size=7)
ACTION = ActionSpec(size=7, delta=True, rotation=Rotation.EULER_XYZ, gripper=Gripper.NONE)


def match(
    offered: ObservationSpec,
    needed: ObservationSpec,
    accepted: ActionSpec = ACTION,
    produced: ActionSpec = ACTION,
) -> None:
    check_match("s", offered, accepted, policy_id="p", needed=needed, produced=produced)


@property_test
@given(offered=observations, action=actions, data=st.data())
def test_whoever_needs_a_part_of_what_is_shown_fits(
    offered: ObservationSpec, action: ActionSpec, data: st.DataObject
) -> None:
    needed = replace(
        offered,
        cameras=tuple({c.name: c for c in offered.cameras if data.draw(st.booleans())}.values()),
        privileged=offered.privileged and data.draw(st.booleans()),
    )
    match(offered, needed, action, action)
    match(offered, replace(needed, state="", state_size=0), action, action)


@property_test
@given(one=actions, other=actions)
def test_actions_fit_when_every_part_of_the_convention_is_equal(
    one: ActionSpec, other: ActionSpec
) -> None:
    if one == other:
        match(SHOWN, SHOWN, one, other)
    else:
        with pytest.raises(SpecMismatchError, match="action: the policy produces"):
            match(SHOWN, SHOWN, one, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "wrist"},
        {"height": 128},
        {"width": 256},
        {"orientation": Orientation.UPSIDE_DOWN},
        {"quality": Quality.FAST},
    ],
)
def test_a_picture_that_differs_in_anything_is_another_picture(changes: dict[str, object]) -> None:
    needed = replace(SHOWN, cameras=(replace(CAMERA, **changes),))  # type: ignore[arg-type]
    with pytest.raises(SpecMismatchError, match="camera: the policy needs") as found:
        match(SHOWN, needed)
    assert str(CAMERA) in str(found.value)
    assert str(needed.cameras[0]) in str(found.value)


def test_a_state_fits_by_convention_and_by_size() -> None:
    for wrong in (replace(SHOWN, state="pose"), replace(SHOWN, state_size=8)):
        with pytest.raises(SpecMismatchError, match=r"state: .* the suite shows 'joints' of 7"):
            match(SHOWN, wrong)


def test_every_disagreement_is_listed_at_once() -> None:
    needed = ObservationSpec(
        cameras=(replace(CAMERA, name="a"), replace(CAMERA, name="b")),
        state="pose",
        state_size=7,
        privileged=True,
    )
    with pytest.raises(SpecMismatchError) as found:
        match(ObservationSpec(), needed, produced=replace(ACTION, size=6))
    message = str(found.value)
    assert message.startswith("policy 'p' cannot run on suite 's': action: ")
    assert message.count("camera: the policy needs") == 2
    assert message.count("the suite shows no camera") == 2
    assert "state: the policy needs 'pose' of 7" in message
    assert "privileged state: the policy needs it; the suite shows none" in message


def test_conventions_are_written_out_in_words() -> None:
    assert str(ACTION) == "7 numbers in [-1, 1], delta, rotation euler-xyz, gripper none"
    assert str(CAMERA) == "front 128x256 upright full"
