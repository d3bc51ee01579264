"""What episodes that broke count as."""

from typing import Literal

OnError = Literal["raise", "exclude", "as-failure"]


def refuse_errors(errors: int, n: int, on_error: OnError) -> None:
    """Raise if episodes broke and nobody said what to do about it.

    Raises:
        ValueError: If so.
    """
    if errors and on_error == "raise":
        raise ValueError(f"{errors} of {n} episodes ended in an error")
