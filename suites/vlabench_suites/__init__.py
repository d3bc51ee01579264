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
