from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlabench import EpisodeSpec, Observation, ObservationSpec, load_policy, load_suite
from vlabench.errors import SettingError
from vlabench.testing import check_policy
from vlabench_baselines.simple import make_noop, make_random

# 50 examples, and no deadline: on a busy machine any call may take long.
property_test = settings(deadline=None, max_examples=50)
SUITE = load_suite("point-reach")
PROTOCOL = SUITE.protocol()
NOTHING = Observation(instruction="")


def episode(policy_seed: int) -> EpisodeSpec:
    return EpisodeSpec(
        task_id="point-reach/left", init_index=0, scene_seed=0, policy_seed=policy_seed
    )


@pytest.mark.parametrize("policy_id", ["noop", "random"])
def test_they_keep_the_contract_and_look_at_nothing(policy_id: str) -> None:
    policy = load_policy(policy_id, SUITE)
    check_policy(policy, SUITE)
    assert (policy.id, policy.digest, policy.observation) == (policy_id, "", ObservationSpec())


@pytest.mark.parametrize("policy_id", ["noop", "random"])
@pytest.mark.parametrize("chunk", ["0", "-3", "100000000000"])
def test_a_chunk_of_nothing_or_of_more_than_any_episode_is_refused(
    policy_id: str, chunk: str
) -> None:
    with pytest.raises(SettingError, match=f"{policy_id}.*chunk={chunk}, expected at least 1"):
        load_policy(policy_id, SUITE, settings={"chunk": chunk})


def test_noop_settles_as_the_protocol_does_and_is_zero_where_nothing_settles() -> None:
    zeros = make_noop(SUITE, PROTOCOL, chunk=3).act([0, 1], [NOTHING] * 2).actions
    assert zeros.shape == (2, 3, 1)
    assert not zeros.any()
    settling = replace(PROTOCOL, settle_steps=5, settle_action=(-1.0,))
    assert (make_noop(SUITE, settling).act([0], [NOTHING]).actions == -1).all()


@property_test
@given(low=st.floats(-100, 99), width=st.floats(0.125, 100), seed=st.integers(0, 2**32 - 1))
def test_random_actions_are_in_the_range_that_means_something(
    low: float, width: float, seed: int
) -> None:
    spec = replace(PROTOCOL.action, size=7, low=low, high=low + width)
    policy = make_random(SUITE, replace(PROTOCOL, action=spec))
    policy.reset(0, episode(seed))
    actions = policy.act([0], [NOTHING]).actions
    assert actions.shape == (1, 8, 7)
    assert np.float32(low) <= actions.min()
    assert actions.max() <= np.float32(low + width)


def test_random_draws_are_those_of_the_episode_and_not_of_the_chunk() -> None:
    def draws(seed: int, chunk: int) -> list[float]:
        policy = make_random(SUITE, PROTOCOL, chunk=chunk)
        policy.reset(3, episode(seed))
        return [
            float(a) for _ in range(12 // chunk) for a in policy.act([3], [NOTHING]).actions.ravel()
        ]

    assert draws(1, 1) == draws(1, 4) == draws(1, 12)
    assert draws(1, 4) != draws(2, 4)
