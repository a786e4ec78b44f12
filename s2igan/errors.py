"""The one exception that a user is meant to read."""


class InputError(Exception):
    """Input that a person can fix: one line that names the file or key, what was found and what to do.

    What cannot be printed, as what steers a terminal in a file's name, is written as its escape sequence.
    """

    def __init__(self, message: str):
        line = " ".join(message.split())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))
