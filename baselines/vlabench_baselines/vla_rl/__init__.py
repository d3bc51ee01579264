"""VLA-RL: online reinforcement learning of a policy of action tokens."""
