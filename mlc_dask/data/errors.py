"""The exceptions that mean "your input, and how to mend it"."""

from collections.abc import Sequence
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input, told in one line that names the value, its place and the fix.

    The command line prints the line and exits with code 2; a notebook sees an ordinary ``ValueError``.
    """


class UnreadableError(InputError):
    """A file that is no whole image: bad input on this machine, a fault that may pass where it is fetched."""


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """End of a message about an unknown name: the nearest known one, else all of them."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
