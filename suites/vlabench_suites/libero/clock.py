"""When robosuite looks at the scene, and what it then sees."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SUBSTEPS = 25
"""Steps of the simulator in a control step: 0.05 s at 2 ms."""


class Seen(NamedTuple):
    """The state at a measurement, as joint positions, `[nq]`; everything seen follows from it.

    Attributes:
        kinematics: Where things are seen: MuJoCo computes poses at the beginning of a substep.
        positions: What joint sensors read: the end of that substep.
    """

    kinematics: NDArray[np.float64]
    positions: NDArray[np.float64]


class ObservationClock:
    """`Observable.update` of robosuite 1.4 (utils/observables.py), as a timer.

    Observations are not measured at the end of a control step but once in 0.05 s of a clock that
    the two forced measurements of a reset have put 4 ms ahead: in the last but one of the 25
    substeps. Policies were trained on these, so this is what they are shown. The arithmetic is
    robosuite's, so that rounding moves the moment here when it moves it there.
    """

    _PERIOD_SECONDS, _SUBSTEP_SECONDS = 1.0 / 20, 0.002

    def __init__(self) -> None:
        self._time, self._sampled = 0.0, False

    def reset(self) -> None:
        """Begin anew, as a reset does; whether a sample was taken survives, as it does there."""
        self._time = 0.0

    def tick(self, *, force: bool = False) -> bool:
        """Let a substep pass; say whether a measurement is due at its end."""
        self._time += self._SUBSTEP_SECONDS
        due = force or (not self._sampled and self._time <= self._PERIOD_SECONDS)
        self._sampled = self._sampled or due
        if self._time >= self._PERIOD_SECONDS:
            due = due or not self._sampled
            self._time %= self._PERIOD_SECONDS
            self._sampled = False
        return due

    def control_step(self) -> int:
        """Let a control step pass; return the last of its substeps that is measured.

        -1 if none is: then what was seen before is still what is seen.
        """
        measured = [number for number in range(SUBSTEPS) if self.tick()]
        return measured[-1] if measured else -1
