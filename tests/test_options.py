"""A dataclass becomes a command's options, and a command's values the dataclass."""

from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner

from s2igan.options import choice, fill, integer, integers, number, options, seed, switch


@dataclass(frozen=True)
class Sizes:
    inputs: int  # found, not given
    width: int = integer(1, help="how wide")
    channels: tuple[int, ...] = integers(1)
    kind: str = choice(["a", "b"])
    seed: int = seed()


@dataclass(frozen=True)
class Recipe:
    lr: float = number(0, 1, min_open=True)
    seed: int = seed()
    norm: bool = switch(default=True)
    smoothing: float = 0.1  # no option


GIVEN = ("--width=3 --channels=4 --channels=5 --kind=b --lr=0.5 --no-norm --seed=7").split()


def run(*arguments):
    got = {}

    @click.command()
    @options(Sizes, Recipe)
    def main(**values):
        got.update(values)

    return CliRunner().invoke(main, arguments), got


def test_each_field_is_one_option_and_values_fill_the_dataclasses():
    result, values = run(*GIVEN)
    assert result.exit_code == 0, result.output
    assert set(values) == {"width", "channels", "kind", "seed", "lr", "norm"}
    assert fill(Sizes, values, inputs=2) == Sizes(2, 3, (4, 5), "b", 7)
    assert fill(Recipe, values) == Recipe(0.5, 7, False, 0.1)
    with pytest.raises(TypeError, match="inputs"):
        fill(Sizes, values)


@pytest.mark.parametrize(("changed", "told"), [
    ("--width=0", "Invalid value for '--width': 0 is not in the range x>=1."),
    ("--kind=c", "Invalid value for '--kind': 'c' is not one of 'a', 'b'."),
    ("--lr=0", "Invalid value for '--lr': 0.0 is not in the range 0<x<=1."),
    ("--seed=-1", "Invalid value for '--seed': -1 is not in the range"),
    ("--smoothing=0.2", "No such option '--smoothing'."),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(changed, told):
    result, values = run(*GIVEN, changed)
    assert result.exit_code == 2 and told in result.output and not values


@pytest.mark.parametrize("missing", [word for word in GIVEN if "channels" not in word])
def test_every_option_is_required_also_where_the_field_has_a_default(missing):
    result, _ = run(*(word for word in GIVEN if word != missing))
    assert result.exit_code == 2 and "Missing option" in result.output
