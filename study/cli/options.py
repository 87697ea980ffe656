"""Options that are not on the command line: each comes from the environment, or else from the file study.toml."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from study.errors import StudyError
from study.words import meant

FILE = "study.toml"
Storage = Annotated[
    str,
    typer.Option(help="Where studies are kept: a folder or a URI.", envvar="STUDY_STORAGE", show_default=True),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
ANYWHERE = ("--quiet", "--verbose")


class OptionError(StudyError):
    """A study.toml that cannot be used: the message names the key, what was expected and the fix."""


class Commands(TyperGroup):
    """The commands of ``study``. Its switches may also stand after the command, where people put them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments with the switches first."""
        end = args.index("--") if "--" in args else len(args)
        switches = [arg for arg in args[:end] if arg in ANYWHERE]
        rest = [arg for arg in args[:end] if arg not in ANYWHERE]
        return super().parse_args(ctx, [*switches, *rest, *args[end:]])


def bind_environment(command: Any) -> None:
    """Give each option of a command, and of those under it, its variable: --data-dir is STUDY_DATA_DIR."""
    for name, option in _options(command):
        if not option.envvar:  # those that are given in code are shown in --help
            option.envvar, option.show_envvar = f"STUDY_{name.upper().replace('-', '_')}", False
    for below in getattr(command, "commands", {}).values():
        bind_environment(below)


def file_options(command: Any) -> dict[str, Any]:
    """Return what study.toml says, as defaults of the commands; raise OptionError.

    Its keys are the long names of options; a table has those of the command that it is named after.
    """
    if not Path(FILE).is_file():
        return {}
    import tomllib

    try:
        content = tomllib.loads(Path(FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{FILE} cannot be read: {error}; expected TOML in UTF-8") from None
    known = {name for name, _ in _all_options(command)}
    shared = {key: value for key, value in content.items() if key in known and not isinstance(value, dict)}
    _check_keys(command, content, known, "")
    return _defaults(command, content, shared)


def _check_keys(command: Any, table: Mapping[str, Any], known: set[str], where: str) -> None:
    below = getattr(command, "commands", {})
    for key, value in table.items():
        if key in below and not isinstance(value, dict):
            raise OptionError(f"{FILE}: {where}{key} is a command; its options go into a table [{where}{key}]")
        if key in below:
            options = {name for name, _ in _all_options(below[key])}
            _check_keys(below[key], value, options, f"{where}{key}.")
        elif key not in known:
            raise OptionError(f"{FILE}: unknown key {where}{key}; {meant(key, sorted({*known, *below}))}")
        elif isinstance(value, dict):
            raise OptionError(f"{FILE}: {where}{key} is a table; expected the value of --{key}")


def _defaults(command: Any, table: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        option.name: {**shared, **table}[name] for name, option in _options(command) if name in {**shared, **table}
    }
    for name, below in getattr(command, "commands", {}).items():
        found[name] = _defaults(below, table.get(name, {}), shared)
    return found


def _options(command: Any) -> Iterator[tuple[str, Any]]:
    """Yield the long names of a command's own options, less those that act at once, such as --version."""
    for param in command.params:
        if param.param_type_name == "option" and param.expose_value and not param.is_eager:
            yield from ((name.removeprefix("--"), param) for name in param.opts if name.startswith("--"))


def _all_options(command: Any) -> Iterator[tuple[str, Any]]:
    yield from _options(command)
    for below in getattr(command, "commands", {}).values():
        yield from _all_options(below)


def usage_problem(error: typer.TyperException) -> str:
    """Put into a line what is wrong with a command line, where a value comes from that is not on it, and what to do."""
    context, option = getattr(error, "ctx", None), getattr(error, "param", None)
    text = " ".join(error.format_message().split()).rstrip(".")
    if context is None or not text:
        return text
    if option is not None:
        source = getattr(context.get_parameter_source(option.name), "name", None)
        if source == "ENVIRONMENT":
            text += f" ({option.envvar} is {os.environ[option.envvar]!r})"
        if source == "DEFAULT_MAP":
            text += f" ({FILE} has {context.lookup_default(option.name)!r})"
    return f"{text}{'' if text.endswith('?') else '.'} See: {context.command_path} --help"
