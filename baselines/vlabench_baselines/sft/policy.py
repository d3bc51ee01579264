"""The SFT policy: what cloned the demonstrations of experts."""

from vlabench_baselines.nanovla.shipped import policy_maker

make = policy_maker(
    "sft",
    "Make the policy that cloned experts' demonstrations; a checkpoint for each suite comes along.",
)
