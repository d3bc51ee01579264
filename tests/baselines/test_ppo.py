"""PPO, by hand: what a ratio, a clip, an advantage and a time-out are worth."""

import math

import pytest
import torch

from vlabench_baselines.common.ppo import (
    PpoRecipe,
    advantages,
    explained_variance,
    surrogate,
    value_loss,
)


def test_advantages_of_an_episode_that_ends_in_success() -> None:
    # delta = [0 + 0.5*0.4 - 0.2, 0 + 0.5*0.6 - 0.4, 1 + 0 - 0.6] = [0, -0.1, 0.4]
    rewards, values = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.2, 0.4, 0.6])
    found, returns = advantages(rewards, values, 0.0, gamma=0.5, lam=0.5)
    # A2 = 0.4, A1 = -0.1 + 0.25 * 0.4 = 0, A0 = 0 + 0.25 * 0 = 0
    assert torch.allclose(found, torch.tensor([0.0, 0.0, 0.4]), atol=1e-7)
    assert torch.allclose(returns, torch.tensor([0.2, 0.4, 1.0]), atol=1e-7)


def test_an_episode_that_time_cut_short_is_worth_what_the_critic_expects() -> None:
    rewards, values = torch.zeros(2), torch.tensor([0.5, 0.5])
    cut, _ = advantages(rewards, values, 0.8, gamma=1.0, lam=0.0)
    ended, _ = advantages(rewards, values, 0.0, gamma=1.0, lam=0.0)
    assert torch.allclose(cut, torch.tensor([0.0, 0.3]))
    assert torch.allclose(ended, torch.tensor([0.0, -0.5]))


def test_with_lambda_one_the_advantage_is_the_discounted_return_less_the_value() -> None:
    rewards, values = torch.tensor([0.1, 0.0, 1.0]), torch.tensor([0.3, 0.1, 0.7])
    found, _ = advantages(rewards, values, 0.5, gamma=0.9, lam=1.0)
    expected = 0.1 + 0.81 * 1.0 + 0.729 * 0.5 - 0.3
    assert float(found[0]) == pytest.approx(expected)


def test_the_clip_holds_what_has_gone_far_enough_and_nothing_else() -> None:
    # ratios 1.5, 1.5, 0.5, 0.5 with advantages +, -, +, -
    log_probs = torch.log(torch.tensor([1.5, 1.5, 0.5, 0.5])).requires_grad_()
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    found = surrogate(log_probs, torch.zeros(4), advantage, low=0.2, high=0.3)
    # min(1.5, 1.3), min(-1.5, -1.3), min(0.5, 0.8), min(-0.5, -0.8)
    assert found.loss.item() == pytest.approx(-(1.3 - 1.5 + 0.5 - 0.8) / 4)
    found.loss.backward()
    assert log_probs.grad is not None
    assert [g == 0 for g in log_probs.grad.tolist()] == [True, False, False, True]
    assert float(found.clipped) == 1.0
    assert float(found.kl) == pytest.approx((0.5 - 0.5 - math.log(1.5) - math.log(0.5)) / 2)


def test_one_ratio_per_decision_from_the_sum_of_its_tokens() -> None:
    # Two tokens that each grew by 1.2: as a decision, 1.44, which a clip of 0.3 holds;
    # taken one by one, neither would be held.
    old = torch.log(torch.tensor([[0.25, 0.25]])).sum(1)
    new = torch.log(torch.tensor([[0.30, 0.30]])).sum(1)
    found = surrogate(new, old, torch.ones(1), low=0.3, high=0.3)
    assert float(found.loss) == pytest.approx(-1.3)


def test_values_may_not_run_away_in_one_iteration() -> None:
    values, old, returns = torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([2.0])
    assert float(value_loss(values, old, returns, clip=0.0)) == pytest.approx(0.5)
    assert float(value_loss(values, old, returns, clip=0.2)) == pytest.approx(0.5 * 1.8**2)


def test_how_much_a_critic_explains() -> None:
    returns = torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.full((4,), 0.5), returns) == 0.0
    assert explained_variance(returns, torch.ones(4)) == 0.0


@pytest.mark.parametrize(
    ("values", "message"),
    [({"gamma": 1.5}, "gamma is 1.5"), ({"clip": 0.0}, "clip is 0.0"), ({"epochs": 0}, "epochs")],
)
def test_a_wrong_number_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PpoRecipe(**values)  # type: ignore[arg-type]
