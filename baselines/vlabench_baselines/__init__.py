"""The policies and trainers that come with vlabench: id to "module:attribute"."""

from pathlib import Path

RECIPES = Path(__file__).with_name("recipes")
"""Recipes that `vlabench train` finds by name."""
POLICIES = {
    "ire-vla": "vlabench_baselines.ire_vla.policy:make",
    "ire-vla-freeze": "vlabench_baselines.ire_vla.policy:make_freeze",
    "libero-expert": "vlabench_baselines.experts.libero:make",
    "metaworld-expert": "vlabench_baselines.experts.metaworld:make",
    "noop": "vlabench_baselines.simple:make_noop",
    "point-reach-expert": "vlabench_baselines.experts.point_reach:make",
    "ppo-replay": "vlabench_baselines.ire_vla.policy:make_replay",
    "random": "vlabench_baselines.simple:make_random",
    "replay": "vlabench_baselines.replay:make",
    "sft": "vlabench_baselines.sft.policy:make",
    "vla-rl": "vlabench_baselines.vla_rl.policy:make",
}

TRAINERS = {
    "critic": "vlabench_baselines.vla_rl.critic:train",
    "ire-vla": "vlabench_baselines.ire_vla.trainer:train",
    "sft": "vlabench_baselines.sft.trainer:train",
    "vla-rl": "vlabench_baselines.vla_rl.trainer:train",
}
