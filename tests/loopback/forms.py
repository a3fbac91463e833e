"""Filling in a modal as a user does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import Json, UserError
from .limits import LABEL, SELECTS, TEXT_INPUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def fill_in(modal: Json, values: Mapping[str, str | list[str]]) -> list[Json]:
    """Build the ``components`` of a submitted modal.

    Raises:
        UserError: a field does not exist, must be filled in, or is too short or too long.
    """
    names = {name: field["custom_id"] for field, label in _fields(modal) for name in _names(field, label)}
    if not set(values) <= set(names):
        raise UserError(f"the modal has no {', '.join(set(values) - set(names))}; it has {', '.join(names)}")
    given = {names[name]: value for name, value in values.items()}
    return [_part(part, given) for part in modal["components"]]


def _fields(modal: Json) -> Iterator[tuple[Json, str]]:
    """The fields of a modal with their labels; a field stands in a row (older) or in a label (newer)."""
    for part in modal["components"]:
        if part["type"] == LABEL:
            yield part["component"], part["label"]
        for field in part.get("components") or []:
            yield field, field.get("label") or ""


def _names(field: Json, label: str) -> set[str]:
    return {field["custom_id"], label.lower().replace(" ", "_")}


def _part(part: Json, given: Mapping[str, str | list[str]]) -> Json:
    filled: Json = {"type": part["type"], "id": part.get("id", 1)}
    if part["type"] == LABEL:
        filled["component"] = _filled(part["component"], given)
    elif part.get("components"):
        filled["components"] = [_filled(field, given) for field in part["components"]]
    else:
        filled["content"] = part.get("content", "")
    return filled


def _filled(field: Json, given: Mapping[str, str | list[str]]) -> Json:
    filled: Json = {"type": field["type"], "custom_id": field["custom_id"], "id": field.get("id", 1)}
    if field["type"] == TEXT_INPUT:
        filled["value"] = _text(field, given.get(field["custom_id"], field.get("value") or ""))
    elif field["type"] in SELECTS:
        filled["values"] = _choice(field, given.get(field["custom_id"]))
    else:
        raise UserError(f"the loopback cannot fill in a field of type {field['type']}")
    return filled


def _text(field: Json, value: str | list[str]) -> str:
    name = field["custom_id"]
    if not isinstance(value, str):
        raise UserError(f"the field {name!r} takes a text")
    if field.get("required", True) and not value:
        raise UserError(f"the field {name!r} must be filled in")
    low, high = field.get("min_length") or 0, field.get("max_length") or 4000
    if value and not low <= len(value) <= high:
        raise UserError(f"the field {name!r} must have {low} to {high} characters")
    return value


def _choice(field: Json, value: str | list[str] | None) -> list[str]:
    name, options = field["custom_id"], field.get("options") or []
    if value is None:
        chosen = [option["value"] for option in options if option.get("default")]
    else:
        chosen = [value] if isinstance(value, str) else value
    if field.get("required", True) and not chosen:
        raise UserError(f"the field {name!r} must be filled in")
    if options and not set(chosen) <= {option["value"] for option in options}:
        raise UserError(f"{chosen} is not among the options of {name!r}")
    return chosen
