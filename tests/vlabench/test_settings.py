"""`--set key=value`: a factory's signature is the only place where settings are declared."""

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlabench.errors import SettingError
from vlabench.settings import assign_settings, parse_settings, settings_of, split_pairs

# 50 examples, and no deadline: on a busy machine any call may take long.
property_test = settings(deadline=None, max_examples=50)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def factory(
    suite: object,
    protocol: object,
    *,
    count: int = 3,
    rate: float = 0.5,
    name: str = "x",
    fast: bool = False,
    path: Path | None = None,
    mode: Literal["near", "far"] = "near",
    colour: Colour = Colour.RED,
) -> None:
    """Take a setting of every kind."""


def needy(*, run: str, chunk: int = 8) -> None:
    """Need one setting."""


def parsed(key: str, text: str) -> Any:
    return parse_settings(factory, {key: text}, "policy 'p'")[key]


def test_settings_are_the_keyword_only_parameters() -> None:
    names = ["count", "rate", "name", "fast", "path", "mode", "colour"]
    assert list(settings_of(factory)) == names
    assert list(settings_of(lambda task, protocol, wants: None)) == []


@property_test
@given(st.integers())
def test_integers_are_read_as_they_are_written(value: int) -> None:
    assert parsed("count", str(value)) == value


@property_test
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_read_as_they_are_written(value: float) -> None:
    assert parsed("rate", repr(value)) == value


@property_test
@given(st.text())
def test_text_is_taken_verbatim(value: str) -> None:
    assert parsed("name", value) == value


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("fast", "true", True),
        ("fast", "Yes", True),
        ("fast", "1", True),
        ("fast", "off", False),
        ("fast", "FALSE", False),
        ("path", "/tmp/a b", Path("/tmp/a b")),
        ("mode", "far", "far"),
        ("colour", "blue", Colour.BLUE),
    ],
)
def test_other_kinds_are_read_by_their_annotation(key: str, text: str, value: Any) -> None:
    assert parsed(key, text) == value
    assert type(parsed(key, text)) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("count", "many", "expected int"),
        ("count", "3.5", "expected int"),
        ("count", "", "expected int"),
        ("rate", "fast", "expected float"),
        ("fast", "maybe", "expected true or false"),
        ("mode", "middle", "expected one of near, far"),
        ("colour", "green", "expected one of red, blue"),
        ("rate", "nan", "expected float"),
    ],
)
def test_text_of_another_kind_is_refused_with_what_was_expected(
    key: str, text: str, expected: str
) -> None:
    with pytest.raises(SettingError) as found:
        parsed(key, text)
    assert str(found.value) == f"policy 'p': {key}={text!r}, {expected}"


def test_what_is_not_set_is_left_to_the_factory() -> None:
    assert parse_settings(factory, {}, "p") == {}


def test_a_setting_that_is_not_taken_or_not_given_is_refused() -> None:
    with pytest.raises(
        SettingError, match="p does not take the setting 'runs'; it takes run, chunk"
    ):
        parse_settings(needy, {"runs": "x"}, "p")
    with pytest.raises(SettingError, match="p needs --set run="):
        parse_settings(needy, {"chunk": "1"}, "p")


@property_test
@given(
    st.dictionaries(st.text(min_size=1).filter(lambda key: "=" not in key), st.text(), max_size=5)
)
def test_pairs_are_split_at_the_first_equals_sign(table: dict[str, str]) -> None:
    assert split_pairs(f"{key}={value}" for key, value in table.items()) == table


@pytest.mark.parametrize("pair", ["chunk", "", "=3"])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(SettingError, match="is not of the form key=value"):
        split_pairs([pair])


def test_a_key_that_is_given_twice_is_refused_with_both_values() -> None:
    with pytest.raises(SettingError, match="chunk is given twice: '3' and '4'"):
        split_pairs(["chunk=3", "chunk=4"])


def test_each_setting_goes_to_the_one_who_takes_it() -> None:
    owners = {"suite 's'": factory, "policy 'p'": needy}
    assert assign_settings({"count": "1", "run": "x"}, owners) == {
        "suite 's'": {"count": "1"},
        "policy 'p'": {"run": "x"},
    }
    with pytest.raises(
        SettingError, match=r"nothing takes the setting 'colr'\..*policy 'p': run, "
    ):
        assign_settings({"colr": "red"}, owners)
    with pytest.raises(SettingError, match="both a and b take the setting 'run'"):
        assign_settings({"run": "x"}, {"a": needy, "b": needy})


def test_a_choice_of_numbers_can_be_made() -> None:
    def sized(*, size: Literal[64, 128] = 64) -> None: ...

    assert parse_settings(sized, {"size": "128"}, "p") == {"size": 128}
