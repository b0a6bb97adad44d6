"""The exceptions that mean "your input, and how to mend it"."""


class InputError(ValueError):
    """Bad input, told in one line that names the value, its place and the fix.

    The command line prints the line and exits with code 2; a notebook sees an ordinary ``ValueError``.
    """


class UnreadableError(InputError):
    """A file that is no whole image: bad input on this machine, a fault that may pass where it is fetched."""
