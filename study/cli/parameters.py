"""The options of commands, from the command line, then the environment, then study.toml."""

import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from study.cli.completion import complete_grid, complete_study
from study.errors import StudyError
from study.plan.run_options import RunOptions, TrainingOptions, flag_of
from study.words import flaw_of, suggest

FILE = "study.toml"
Command = Callable[..., None]
ANYWHERE = ("--quiet", "--verbose")


class OptionError(StudyError):
    """A study.toml that cannot be used: the message names the key, and what was expected."""


def takes(options: type[TrainingOptions], leave_out: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command an option for each field of a class, in place of its parameter ``options``.

    typer reads options from a signature: the new one has a parameter per field, to build them of.
    """
    # What is trained is listed before how: only the latter is an attribute of TrainingOptions.
    listed = sorted(fields(options), key=lambda each: hasattr(TrainingOptions, each.name))
    chosen = [each for each in listed if each.name not in leave_out]

    def decorate(command: Command) -> Command:
        # The order of the command's own parameters is that of --help, so the fields take the place of ``options``.
        signature = inspect.signature(command)
        parameters: list[inspect.Parameter] = []
        for own in signature.parameters.values():
            if own.name == "options":
                parameters += map(_parameter, chosen)
            else:  # by keyword, so that one without a default may follow one with it
                parameters.append(own.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        def with_options(**values: Any) -> None:
            given = {each.name: values.pop(each.name) for each in chosen}
            command(options=options(**given), **values)

        with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
        with_options.__annotations__ = {each.name: each.annotation for each in parameters}
        with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return with_options

    return decorate


def _parameter(each: Field[Any]) -> inspect.Parameter:
    # typer takes the values that an option may have from an enumeration only.
    kind: Any = each.type
    if allowed := each.metadata["allowed"]:
        choice: Any = StrEnum(each.name, {word: word for word in allowed})  # type: ignore[misc]
        kind = list[choice] if each.type == tuple[str, ...] else choice | None
    default = inspect.Parameter.empty if each.default is MISSING else each.default
    annotation = Annotated[kind, _described(each)]
    return inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _described(each: Field[Any]) -> Any:
    variable = variable_of(each.name) if each.metadata["variable_in_help"] else None
    completion = complete_grid if each.name == "grid" else None
    return typer.Option(flag_of(each.name), help=each.metadata["help"], envvar=variable, autocompletion=completion)


def variable_of(name: str) -> str:
    """Return the environment variable of an option: --data-dir is STUDY_DATA_DIR."""
    return f"STUDY_{name.upper().replace('-', '_')}"


Storage = Annotated[str, _described(RunOptions.__dataclass_fields__["storage"])]
StudyName = Annotated[str, typer.Argument(help="Name of the study.", autocompletion=complete_study)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, for a program to read.")]


class Commands(TyperGroup):
    """The commands of ``study``. Its switches may also stand after the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments with the switches first."""
        end = args.index("--") if "--" in args else len(args)
        # Sorting is stable: all others keep their order.
        switches_first = sorted(args[:end], key=lambda arg: arg not in ANYWHERE)
        return super().parse_args(ctx, switches_first + args[end:])


def prepare(command: Any) -> None:
    """Give each option of a command, and of those under it, its environment variable, and check what is given."""
    for name, option in _all_options(command):
        if not option.envvar:  # those that are given in code are shown in --help
            option.envvar, option.show_envvar = variable_of(name), False
    _check_all(command)


def _check_all(command: Any) -> None:
    for param in command.params:
        if param.callback is None:
            param.callback = _checked
    for below in getattr(command, "commands", {}).values():
        _check_all(below)


def _checked(context: Any, param: Any, given: Any) -> Any:
    """Return what was given; refuse numbers that are none, and text that no file can be called."""
    for value in given if isinstance(given, list) else [given]:
        problem = flaw_of(value)
        if problem:
            raise typer.BadParameter(f"{value!r}: {problem}", context, param)
    return given


def file_options(command: Any) -> dict[str, Any]:
    """Return defaults from study.toml: long option names, a table per command; raise OptionError."""
    if not Path(FILE).is_file():
        return {}
    import tomllib

    try:
        content = tomllib.loads(Path(FILE).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{FILE} cannot be read: {error}; expected TOML in UTF-8") from None
    _check_keys(command, content)
    shared = {key: value for key, value in content.items() if not isinstance(value, dict)}
    return _defaults(command, content, shared)


def _check_keys(command: Any, table: Mapping[str, Any], where: str = "") -> None:
    below = getattr(command, "commands", {})
    # A key that is an option of no command here is a misspelt word.
    known = dict(_all_options(command))
    for key, value in table.items():
        if key in below and not isinstance(value, dict):
            raise OptionError(f"{FILE}: {where}{key} is a command; its options go into a table [{where}{key}]")
        if key in below:
            _check_keys(below[key], value, f"{where}{key}.")
        elif key not in known:
            raise OptionError(f"{FILE}: unknown key {where}{key}; {suggest(key, sorted({*known, *below}))}")
        elif isinstance(value, dict):
            raise OptionError(f"{FILE}: {where}{key} is a table; expected the value of --{key}")


def _defaults(command: Any, table: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    given = {**shared, **table}  # a command's own table counts more
    found = {option.name: given[name] for name, option in _options(command) if name in given}
    for name, below in getattr(command, "commands", {}).items():
        found[name] = _defaults(below, table.get(name, {}), shared)
    return found


def _options(command: Any) -> Iterator[tuple[str, Any]]:
    """Yield a command's own options by long name, but not those that act at once (--version)."""
    for param in command.params:
        if param.param_type_name == "option" and param.expose_value and not param.is_eager:
            yield param.opts[0].removeprefix("--"), param


def _all_options(command: Any) -> Iterator[tuple[str, Any]]:
    yield from _options(command)
    for below in getattr(command, "commands", {}).values():
        yield from _all_options(below)


def _expectation(error: Any) -> str:
    problem = error.errors()[0]
    kind = problem["type"].partition("_")[0]
    expected = {"int": "a whole number", "float": "a number"}.get(kind)
    if expected is None:
        return str(problem["msg"]).removeprefix("Value error, ")
    return f"{problem['input']!r}: expected {expected}"


def usage_problem(error: typer.TyperException) -> str:
    """Say in one line what is wrong with a command line, and what to do."""
    context, option = getattr(error, "ctx", None), getattr(error, "param", None)
    text = " ".join(error.format_message().split()).rstrip(".")
    if context is None or not text:
        return text
    if isinstance(error.__cause__, ValueError):  # pydantic's, whose words are for programmers
        text = f"{text.partition(': ')[0]}: {_expectation(error.__cause__)}"
    if option is not None:  # the value may come from elsewhere
        source = getattr(context.get_parameter_source(option.name), "name", None)
        if source == "ENVIRONMENT":
            text += f" ({option.envvar} is {os.environ[option.envvar]!r})"
        if source == "DEFAULT_MAP":
            text += f" ({FILE} has {context.lookup_default(option.name)!r})"
    return f"{text}{'' if text.endswith('?') else '.'} See: {context.command_path} --help"
