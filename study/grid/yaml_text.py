"""YAML that people write by hand: every problem is reported with its line and its key."""

import re
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.reader import ReaderError

from study.words import suggest

MOST_MERGED = 10_000  # keys that merges (<<) may give to one mapping

At = tuple[str | int, ...]  # a place in a file: the keys and indices that lead there


class PlacedError(ValueError):
    """A problem, which a pydantic validator raises with its place in what it validates."""

    def __init__(self, message: str, *at: str | int) -> None:
        super().__init__(message)
        self.at = at


class UnreadableError(ValueError):
    """Text that is not YAML as grid files use it; ``line`` is where, if known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Reads off, on, yes, no, true, false, null and decimal numbers, 1e-3 too; all else is text."""

    # PyYAML itself follows YAML 1.1, where 1e-3 is text, 010 is 8, 1:30 is 90, 2026-01-02 is a date.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"(?i:yes|no|true|false|on|off)", "yYnNtTfFoO"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]{0,99})", "-+0123456789"),
    ("float", r"[-+]?(?:(?:0|[1-9][0-9_]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?i:inf)|\.(?i:nan)", "-+."),
    ("null", r"~|(?i:null)|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


class YamlFile:
    """Plain values of a YAML text, and their lines; UnreadableError if it is none or has a key twice."""

    def __init__(self, text: str) -> None:
        try:
            loader = _Loader(text)
            self._root = loader.get_single_node()
            if self._root is not None:
                _check(self._root, loader, {}, set())
            self.content: Any = None if self._root is None else loader.construct_document(self._root)
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            message = f"the character {chr(error.character)!r} is not allowed; remove it"
            raise UnreadableError(message, line) from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or "cannot be read"
            raise UnreadableError(f"malformed YAML: {problem}", mark.line + 1 if mark else None) from None
        except RecursionError:
            raise UnreadableError("malformed YAML: nested too deeply") from None

    def line(self, at: At) -> int:
        """Return the line (from 1) of the last of the keys and indices that exists."""
        node = self._root
        line = 1
        for part in at:
            if (entry := _entry(node, part)) is None:
                break
            line, node = entry
        return line

    def problem(self, error: ValidationError) -> tuple[int, str]:
        """Return the first of the problems that pydantic found: its line, and a message with its key."""
        found = []
        for detail in error.errors(include_url=False):
            at, message = _problem(detail)
            found.append((self.line(at), f"{place(at)}: {message}" if at else message))
        return min(found)


def place(at: At) -> str:
    """Write where something stands, such as factors.dropout.values[0]."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{_printable(part)}" for part in at]
    return "".join(parts).removeprefix(".")


def _printable(key: str) -> str:
    return key if key.isprintable() else repr(key)


def _problem(detail: Any) -> tuple[At, str]:
    """Return the place of a problem that pydantic found, and the message about it."""
    at = tuple(detail["loc"])
    kind = detail["type"]
    given = reprlib.repr(detail["input"])
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, PlacedError):
        return (*at, *cause.at), str(cause)
    if kind == "missing":
        return at[:-1], f"the key {at[-1]} is missing"
    if kind == "too_short":
        return at, f"expected at least one, not {given}"
    expected = detail["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    if kind == "literal_error" and isinstance(detail["input"], str):
        hint = suggest(detail["input"], re.findall(r"'([^']*)'", detail["ctx"]["expected"]))
        # The other hint would list what is expected, as the message does.
        if hint.startswith("did"):
            given = f"{given}; {hint}"
    return at, f"{expected}, not {given}"


def _entry(node: Any, part: str | int) -> tuple[int, Any] | None:
    """Return the line and the node of an entry, or None if there is none."""
    if isinstance(node, yaml.MappingNode):
        # Of two entries with one key the last counts: PyYAML puts merged ones (<<) in front.
        pairs = [(key.start_mark.line + 1, value) for key, value in node.value if key.value == part]
        return pairs[-1] if pairs else None
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


def _check(node: Any, loader: _Loader, checked: dict[int, int], above: set[int]) -> None:
    """Refuse tags, endless aliases, keys that are not text or are there twice, and merges without measure."""
    # ``checked`` has the ids of the nodes seen so far, each with how many keys a merge of it brings;
    # ``above`` has those of the nodes that contain this one.
    line = node.start_mark.line + 1
    if id(node) in above:
        raise UnreadableError("an alias contains itself", line)
    if id(node) in checked:
        return
    checked[id(node)] = 0
    # A node has the tag that its text resolves to, unless the file gives it another one.
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    usual = loader.resolve(type(node), node.value, (plain, not plain))  # type: ignore[no-untyped-call]
    if node.tag not in (usual, "tag:yaml.org,2002:str"):
        raise UnreadableError(f"the tag {node.tag!r} has no use here; remove it", line)
    for child in _children(node):
        _check(child, loader, checked, above | {id(node)})
    checked[id(node)] = keys = _count_merged(node, checked)
    if keys > MOST_MERGED and isinstance(node, yaml.MappingNode):
        raise UnreadableError(f"merges (<<) give it {keys:,} keys; expected at most {MOST_MERGED:,}", line)


def _count_merged(node: Any, counted: Mapping[int, int]) -> int:
    """Return how many keys a mapping has after its merges, or a list of mappings has together."""
    if isinstance(node, yaml.SequenceNode):
        return sum(counted[id(child)] for child in node.value)
    keys = 0
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        keys += counted[id(value)] if key.tag == "tag:yaml.org,2002:merge" else 1
    return keys


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag == "tag:yaml.org,2002:merge":
            yield value
            continue
        if key.tag != "tag:yaml.org,2002:str" or not isinstance(key, yaml.ScalarNode):
            raise UnreadableError(f"the key {reprlib.repr(key.value)} is not text; expected a name", line)
        if key.value in lines:
            twice = f"is there twice, first in line {lines[key.value]}"
            raise UnreadableError(f"the key {_printable(key.value)} {twice}", line)
        lines[key.value] = line
        yield value
