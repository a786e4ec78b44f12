"""A tunable number is declared once: a field of a frozen dataclass, with its range and what it is.

    @dataclass(frozen=True)
    class Recipe:
        lr: float = number(0, 1, min_open=True, help="learning rate")

    @click.command()
    @options(Recipe)
    def main(**values):
        recipe = fill(Recipe, values)

The values stand in `conf/`: each option is required, also where the field has a default (`default=`), and Click
refuses a value out of its range before a stage reads anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from typing import Any, TypeVar

import click

from s2igan.command import SEED, Number

Config = TypeVar("Config")


def integer(least: int | None = None, most: int | None = None, help: str = "", **default: Any) -> Any:
    return _option(default, type=click.IntRange(least, most), help=help)


def number(least: float, most: float | None = None, *, min_open=False, max_open=False, help="", **default: Any) -> Any:
    return _option(default, type=Number(least, most, min_open, max_open), help=help)


def choice(values: Sequence, help: str = "", **default: Any) -> Any:
    return _option(default, type=click.Choice(list(values)), help=help)


def switch(help: str = "", **default: Any) -> Any:
    """True or False, as `--name` or `--no-name`."""
    return _option(default, help=help)


def integers(least: int | None = None, help: str = "", **default: Any) -> Any:
    """Several, each in an option of its own."""
    return _option(default, type=click.IntRange(least), multiple=True, help=help)


def seed(**default: Any) -> Any:
    """What every generator of numbers takes."""
    return _option(default, type=SEED)


def _option(default: dict, **option: Any) -> Any:
    return field(metadata={"option": option}, **default)


def options(*configs: type) -> Callable:
    """Gives a Click command a required option for each field of the dataclasses that was declared by this file.

    A field of two of them is one option.
    """

    def add(command: Callable) -> Callable:
        declared = {f.name: f.metadata["option"] for c in configs for f in fields(c) if "option" in f.metadata}
        for name, option in reversed(declared.items()):
            flag = f"--{name}" if "type" in option else f"--{name}/--no-{name}"
            command = click.option(flag, required=True, **option)(command)
        return command

    return add


def fill(config: type[Config], values: Mapping[str, Any], **more: Any) -> Config:
    """A `config` with its fields from `values`, which may have others, and from `more`.

    A field that is in neither keeps its default, where it has one.
    """
    values = {**values, **more}
    return config(**{f.name: values[f.name] for f in fields(config) if f.name in values})
