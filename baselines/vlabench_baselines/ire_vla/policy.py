"""The policies that iRe-VLA and the baselines of its paper train."""

from vlabench_baselines.nanovla.shipped import policy_maker

make = policy_maker(
    "ire-vla", "Make the policy that RL on its head and supervised learning improved in turn."
)
make_freeze = policy_maker(
    "ire-vla-freeze", "Make the same with the backbone frozen in both: the paper's ablation."
)
make_replay = policy_maker(
    "ppo-replay", "Make the policy that PPO trained as a whole, with demonstrations replayed."
)
