"""The policies that come with vlabench: id to "module:attribute"."""

POLICIES = {
    "metaworld-expert": "vlabench_baselines.experts.metaworld:make",
    "noop": "vlabench_baselines.simple:make_noop",
    "random": "vlabench_baselines.simple:make_random",
    "replay": "vlabench_baselines.replay:make",
}
