"""A vlabench task as a gymnasium environment, and a gymnasium environment as a suite."""

import gymnasium

from vlabench import SerialRunner, Stage, load_policy, make_plan
from vlabench.bridge import TaskEnv, suite_from_gymnasium


def task_as_gymnasium() -> None:
    envs = gymnasium.vector.SyncVectorEnv(
        [lambda: TaskEnv("point-reach", "point-reach/left") for _ in range(2)]
    )
    observations, _ = envs.reset(seed=0)
    print("state of two environments:", observations["state"].ravel())
    envs.close()


def gymnasium_as_suite() -> None:
    suite = suite_from_gymnasium(
        "MountainCarContinuous-v0",
        instruction="drive up the hill on the right",
        success=lambda info, reward, terminated: terminated,
    )
    policy = load_policy("random", suite)
    stage = Stage(suite=suite, protocol=suite.protocol(), wants=policy.observation)
    plan = make_plan(suite, episodes=2)
    for record in SerialRunner().run(stage, policy, plan.episodes):
        print(record.episode.key, record.outcome, record.steps)


if __name__ == "__main__":
    task_as_gymnasium()
    gymnasium_as_suite()
