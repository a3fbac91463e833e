"""What the loopback Discord answers when a request is wrong, and what it says when a *test* is wrong."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
"""One JSON object as it travels on the wire."""


class ApiError(Exception):
    """An error answer of Discord's API: HTTP status, JSON error code and message.

    `errors` is the nested object that names the wrong fields of an invalid form body (code 50035).
    """

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(f"{status} ({code}): {message}")
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors

    def body(self) -> Json:
        """The answer's JSON body."""
        body: Json = {"code": self.code, "message": self.message}
        if self.errors is not None:
            body["errors"] = self.errors
        return body


class UserError(Exception):
    """A test asked for something that Discord's client would not let a user do.

    For example: a command that is hidden from him, a missing option, a disabled button, a message he cannot see.
    """


class HiddenCommandError(UserError):
    """The command exists, but Discord does not offer it to this user in this channel."""


def unknown(thing: str, code: int) -> ApiError:
    """Make the 404 for something that does not exist, e.g. ``unknown("Message", 10008)``."""
    return ApiError(404, code, f"Unknown {thing}")


def missing_access() -> ApiError:
    """Make the 403 for a channel or guild that the bot cannot see."""
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    """Make the 403 for something that the bot sees but may not do."""
    return ApiError(403, 50013, "Missing Permissions")


def invalid_form(field: str, code: str, message: str) -> ApiError:
    """Make the 400 for a request body that breaks a limit; `field` is a dotted path such as ``embeds.0.title``."""
    errors: Json = {"_errors": [{"code": code, "message": message}]}
    for key in reversed(field.split(".")):
        errors = {key: errors}
    return ApiError(400, 50035, "Invalid Form Body", errors)
