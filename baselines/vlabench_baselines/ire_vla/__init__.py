"""iRe-VLA and the baselines of its paper."""
