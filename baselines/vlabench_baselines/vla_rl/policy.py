"""The policy that VLA-RL trains."""

from vlabench_baselines.nanovla.shipped import policy_maker

make = policy_maker("vla-rl", "Make the policy that PPO on action tokens improved.")
