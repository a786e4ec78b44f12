"""The one exception that a user is meant to read."""


class InputError(Exception):
    """Input that a person can fix: one line that names the file or key, what was found and what to do."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))
