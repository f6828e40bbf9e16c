"""Settings refuse what they cannot be, and name what was meant."""

from dataclasses import dataclass

import pytest

from elman.errors import SettingError
from elman.settings import Settings, setting
from elman.training.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class Example(Settings):
    size: int = setting(3, "a size", low=1, high=10, fixed=True)
    rate: float = setting(0.5, "a rate", low=0, high=1)
    flag: bool = setting(False, "a flag")
    name: str = setting("one", "a name", choices=("one", "two"))
    cuts: tuple[int, ...] = setting((), "cuts")
    most: int | None = setting(None, "a limit", low=1)
    sizes: tuple[int, int] = setting((3, 4), "two sizes", low=1, high=99)
    marks: tuple[float, ...] = setting((), "marks")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ({"size": "7"}, 7),
        ({"size": "1e1"}, 10),
        ({"rate": "0.25"}, 0.25),
        ({"rate": 1}, 1.0),
        ({"flag": "yes"}, True),
        ({"flag": "FALSE"}, False),
        ({"flag": True}, True),
        ({"name": "two"}, "two"),
        ({"cuts": "1,2, 3"}, (1, 2, 3)),
        ({"cuts": [4, 5]}, (4, 5)),
        ({"sizes": "99,1"}, (99, 1)),
        ({"most": "none"}, None),
        ({"most": "12"}, 12),
    ],
)
def test_values_are_read_from_text(text: dict, value: object) -> None:
    (name,) = text
    found = getattr(Example.parse(text), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sise": 3}, "unknown setting 'sise'"),
        ({"sise": 3}, "did you mean 'size'?"),
        ({"size": "many"}, "an integer"),
        ({"size": "1.5"}, "an integer"),
        ({"size": True}, "an integer"),
        ({"size": "none"}, "an integer"),
        ({"size": 0}, "at least 1, at most 10"),
        ({"size": 11}, "out of range"),
        ({"rate": "nan"}, "out of range"),
        ({"rate": "fast"}, "a number"),
        ({"flag": "maybe"}, "true or false"),
        ({"name": "tow"}, "did you mean 'two'?"),
        ({"name": 3}, "a string"),
        ({"name": None}, "a string"),
        ({"cuts": "1,x"}, "values with commas between"),
        ({"most": 0}, "at least 1"),
        ({"sizes": "5"}, "2 values with commas between"),
        ({"sizes": [1, 2, 3]}, "2 values with commas between"),
        ({"sizes": "5,0"}, "at least 1, at most 99"),
        ({"sizes": "100,5"}, "at least 1, at most 99"),
        ({"marks": "nan,1"}, "any number"),
        ({"marks": "1,inf"}, "any number"),
    ],
)
def test_wrong_values_are_refused(values: dict, message: str) -> None:
    with pytest.raises(SettingError) as error:
        Example.parse(values)
    assert message in str(error.value)


def test_json_and_back() -> None:
    settings = Example(size=4, cuts=(1, 2), most=9)
    assert Example.parse(settings.as_dict()) == settings
    assert settings.as_dict()["cuts"] == [1, 2]


def test_a_run_that_has_begun_keeps_what_is_fixed() -> None:
    before = Example()
    before.refuse_fixed_changes(before.changed({"rate": "0.1"}))
    with pytest.raises(SettingError, match="size cannot change in a resumed run"):
        before.refuse_fixed_changes(before.changed({"size": "4"}))


def test_every_setting_has_a_meaning_and_no_two_budgets() -> None:
    assert all(meaning for _, meaning in TrainingSettings.meanings().values())
    assert TrainingSettings.meanings()["steps"][0] == "none"
    with pytest.raises(SettingError, match="more than one training budget"):
        TrainingSettings(steps=3, minutes=1.0)


@pytest.mark.parametrize("values", [{"minutes": 0}, {"epochs": 0.0}, {"learning_rate": 0}, {"steps": 0}])
def test_a_budget_and_a_rate_are_positive(values: dict) -> None:
    with pytest.raises(SettingError, match="out of range"):
        TrainingSettings.parse(values)
