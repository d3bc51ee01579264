"""The suites that come with vlabench: id to "module:attribute"."""

SUITES = {
    "libero": "vlabench_suites.libero:LIBERO",
    "libero-10": "vlabench_suites.libero:LIBERO_10",
    "libero-90": "vlabench_suites.libero:LIBERO_90",
    "libero-goal": "vlabench_suites.libero:LIBERO_GOAL",
    "libero-object": "vlabench_suites.libero:LIBERO_OBJECT",
    "libero-spatial": "vlabench_suites.libero:LIBERO_SPATIAL",
    "metaworld": "vlabench_suites.metaworld:SUITE",
    "point-reach": "vlabench_suites.point_reach:SUITE",
}
