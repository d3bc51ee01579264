"""The suites that come with vlabench: id to "module:attribute"."""

SUITES = {
    "libero": "vlabench_suites.libero:LIBERO",
    "libero-10": "vlabench_suites.libero:LIBERO_10",
    "libero-90": "vlabench_suites.libero:LIBERO_90",
    "libero-goal": "vlabench_suites.libero:LIBERO_GOAL",
    "libero-object": "vlabench_suites.libero:LIBERO_OBJECT",
    "libero-spatial": "vlabench_suites.libero:LIBERO_SPATIAL",
    "metaworld": "vlabench_suites.metaworld:SUITE",
    "metaworld-25": "vlabench_suites.metaworld_split:METAWORLD_25",
    "metaworld-new": "vlabench_suites.metaworld_split:METAWORLD_NEW",
    "metaworld-rl": "vlabench_suites.metaworld_split:METAWORLD_RL",
    "metaworld-split": "vlabench_suites.metaworld_split:METAWORLD_SPLIT",
    "metaworld-unseen": "vlabench_suites.metaworld_split:METAWORLD_UNSEEN",
    "point-reach": "vlabench_suites.point_reach:SUITE",
}

_WORLD = ("mt10", "mt50", "ml10", "ml45")
KNOWN_AS = {
    "libero-long": "--suite libero-10",
    "libero-100": "--suite libero-90 and --suite libero-10",
    "meta-world": "--suite metaworld",
    "mt1": "--suite metaworld --tasks TASK",
    "ml1": "--suite metaworld --tasks TASK",
    **{
        f"{before}{name}": f"--suite metaworld --tasks {name}{'-test' * name.startswith('ml')}"
        for name in _WORLD
        for before in ("", "metaworld-")
    },
}
"""Names that papers use, and how they are spelt here."""
