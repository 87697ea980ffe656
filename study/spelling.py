"""What someone who misspelt a word may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def meant(word: str, known: Iterable[str], others: Iterable[str] = ()) -> str:
    """Suggest the nearest word, known or other; where none is near, list the known ones."""
    known = list(known)
    if near := get_close_matches(word, [*known, *others], n=1):
        return f"did you mean {near[0]}?"
    return f"expected one of {', '.join(known)}"
