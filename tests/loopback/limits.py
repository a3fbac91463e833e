"""Discord's limits on what a bot sends: text, embeds, components, files, modals, choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import ApiError, Json, invalid_form
from .messages import COMPONENTS_V2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .wire import Upload

CONTENT, EMBEDS, EMBED_TOTAL, FILES = 2000, 10, 6000, 10
FILE_SIZE = 10 * 1024 * 1024
ROWS, BUTTONS_IN_ROW, SELECT_OPTIONS, COMPONENTS_IN_V2, TEXT_IN_V2 = 5, 5, 25, 40, 4000
CHOICES, CHOICE_LENGTH = 25, 100

ACTION_ROW, BUTTON, STRING_SELECT, TEXT_INPUT, SECTION, TEXT_DISPLAY = 1, 2, 3, 4, 9, 10
CONTAINER, LABEL = 17, 18
SELECTS = (3, 5, 6, 7, 8)
LINK_STYLE, PREMIUM_STYLE = 5, 6

_EMBED_TEXT = {"title": 256, "description": 4096}


def check_message(payload: Json, files: Mapping[int, Upload], *, editing: bool = False) -> None:
    """Check a message that a bot sends or edits.

    Raises:
        ApiError: a limit is broken, or there is nothing in it.
    """
    content = payload.get("content") or ""
    _check_length("content", content, CONTENT)
    embeds = payload.get("embeds") or []
    _check_embeds(embeds)
    check_files(files)
    components = payload.get("components") or []
    if int(payload.get("flags") or 0) & COMPONENTS_V2:
        _check_layout(payload, components)
    else:
        _check_rows(components)
    given = content.strip() or embeds or files or components or payload.get("sticker_ids") or payload.get("poll")
    if not editing and not given:
        raise ApiError(400, 50006, "Cannot send an empty message")


def check_files(files: Mapping[int, Upload]) -> None:
    """Check number and size of uploads.

    Raises:
        ApiError: too many or too big.
    """
    if len(files) > FILES:
        raise ApiError(400, 30015, f"Maximum number of attachments in a message reached ({FILES})")
    if any(len(upload.data) > FILE_SIZE for upload in files.values()):
        raise ApiError(413, 40005, "Request entity too large")


def _check_length(field: str, text: object, high: int, low: int = 0) -> None:
    if not isinstance(text, str):
        raise invalid_form(field, "STRING_TYPE_CONVERT", "Could not interpret value as string.")
    if len(text) > high:
        raise invalid_form(field, "BASE_TYPE_MAX_LENGTH", f"Must be {high} or fewer in length.")
    if len(text) < low or (low and not text.strip()):
        raise invalid_form(field, "BASE_TYPE_REQUIRED", "This field is required")


# --- embeds


def embed_length(embed: Json) -> int:
    """The characters of an embed that count towards the total of 6000."""
    fields = embed.get("fields") or []
    texts = [embed.get("title"), embed.get("description")]
    texts += [(embed.get("footer") or {}).get("text"), (embed.get("author") or {}).get("name")]
    texts += [each[key] for each in fields for key in ("name", "value")]
    return sum(len(text) for text in texts if text)


def _check_embeds(embeds: list[Json]) -> None:
    if len(embeds) > EMBEDS:
        raise invalid_form("embeds", "BASE_TYPE_MAX_LENGTH", f"Must be {EMBEDS} or fewer in length.")
    for index, embed in enumerate(embeds):
        _check_embed(f"embeds.{index}", embed)
    if sum(map(embed_length, embeds)) > EMBED_TOTAL:
        raise invalid_form("embeds", "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {EMBED_TOTAL}")


def _check_embed(path: str, embed: Json) -> None:
    for key, limit in _EMBED_TEXT.items():
        _check_length(f"{path}.{key}", embed.get(key) or "", limit)
    if embed.get("footer"):
        _check_length(f"{path}.footer.text", embed["footer"].get("text"), 2048, 1)
    if embed.get("author"):
        _check_length(f"{path}.author.name", embed["author"].get("name"), 256, 1)
    fields = embed.get("fields") or []
    if len(fields) > 25:
        raise invalid_form(f"{path}.fields", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    for index, each in enumerate(fields):
        _check_length(f"{path}.fields.{index}.name", each.get("name"), 256, 1)
        _check_length(f"{path}.fields.{index}.value", each.get("value"), 1024, 1)
    for key, address in _addresses(embed):
        if not address.startswith(("http://", "https://", "attachment://")) or len(address) > 2048:
            raise invalid_form(f"{path}.{key}", "URL_TYPE_INVALID_URL", "Not a well formed URL.")


def _addresses(embed: Json) -> Iterator[tuple[str, str]]:
    if embed.get("url"):
        yield "url", embed["url"]
    for part, key in (("image", "url"), ("thumbnail", "url"), ("author", "url")):
        if (embed.get(part) or {}).get(key):
            yield f"{part}.{key}", embed[part][key]
    for part in ("author", "footer"):
        if (embed.get(part) or {}).get("icon_url"):
            yield f"{part}.icon_url", embed[part]["icon_url"]


# --- components


def walk(components: list[Json]) -> Iterator[Json]:
    """Every component, nested ones too, in the order in which they are shown."""
    for component in components:
        yield component
        yield from walk(component.get("components") or [])
        for key in ("accessory", "component"):
            if component.get(key):
                yield from walk([component[key]])


def _check_rows(components: list[Json]) -> None:
    if len(components) > ROWS:
        raise invalid_form("components", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {ROWS} in length.")
    for index, row in enumerate(components):
        if row["type"] != ACTION_ROW:
            raise invalid_form(f"components.{index}.type", "UNION_TYPE_CHOICES", "Must be an action row.")
        _check_row(f"components.{index}", row)
    _check_unique_ids(components)


def _check_row(path: str, row: Json) -> None:
    children = row.get("components") or []
    width = sum(BUTTONS_IN_ROW if child["type"] in SELECTS else 1 for child in children)
    if not 1 <= width <= BUTTONS_IN_ROW:
        raise invalid_form(f"{path}.components", "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "Component layout width exceeded.")
    for index, child in enumerate(children):
        _check_child(f"{path}.components.{index}", child)


def _check_child(path: str, child: Json) -> None:
    if child["type"] == BUTTON:
        _check_button(path, child)
    elif child["type"] in SELECTS:
        _check_select(path, child)
    else:
        raise invalid_form(f"{path}.type", "UNION_TYPE_CHOICES", "Must be a button or a select menu.")


def _check_button(path: str, button: Json) -> None:
    style = button.get("style")
    _check_length(f"{path}.label", button.get("label") or "", 80)
    if style == LINK_STYLE:
        _check_length(f"{path}.url", button.get("url"), 512, 1)
    elif style != PREMIUM_STYLE:
        _check_length(f"{path}.custom_id", button.get("custom_id"), 100, 1)
    if style != PREMIUM_STYLE and not button.get("label") and not button.get("emoji"):
        raise invalid_form(path, "BUTTON_COMPONENT_MISSING", "A button needs a label or an emoji.")


def _check_select(path: str, select: Json) -> None:
    _check_length(f"{path}.custom_id", select.get("custom_id"), 100, 1)
    _check_length(f"{path}.placeholder", select.get("placeholder") or "", 150)
    if select["type"] != STRING_SELECT:
        return
    options = select.get("options") or []
    if not 1 <= len(options) <= SELECT_OPTIONS:
        raise invalid_form(f"{path}.options", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 25 in length.")
    for index, option in enumerate(options):
        _check_length(f"{path}.options.{index}.label", option.get("label"), 100, 1)
        _check_length(f"{path}.options.{index}.value", option.get("value"), 100, 1)
        _check_length(f"{path}.options.{index}.description", option.get("description") or "", 100)
    if len({option["value"] for option in options}) < len(options):
        raise invalid_form(f"{path}.options", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "Values must be unique.")


def _check_unique_ids(components: list[Json]) -> None:
    ids = [each["custom_id"] for each in walk(components) if each.get("custom_id")]
    if len(set(ids)) < len(ids):
        raise invalid_form("components", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")


def _check_layout(payload: Json, components: list[Json]) -> None:
    if payload.get("content") or payload.get("embeds"):
        raise invalid_form("content", "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", "Not with components v2.")
    parts = list(walk(components))
    if len(parts) > COMPONENTS_IN_V2:
        raise invalid_form("components", "BASE_TYPE_BAD_LENGTH", f"Must be {COMPONENTS_IN_V2} or fewer in total.")
    if sum(len(part["content"]) for part in parts if part["type"] == TEXT_DISPLAY) > TEXT_IN_V2:
        raise invalid_form("components", "COMPONENT_TEXT_TOO_LONG", f"Text must be {TEXT_IN_V2} or fewer in length.")
    for part in parts:
        if part["type"] == ACTION_ROW:
            _check_row("components", part)
    _check_unique_ids(components)


# --- answers to autocomplete and modals


def check_choices(choices: Any) -> None:
    """Check the answer to an autocomplete.

    Raises:
        ApiError: too many choices, or a name or value too long or empty.
    """
    if not isinstance(choices, list) or len(choices) > CHOICES:
        raise invalid_form("data.choices", "BASE_TYPE_MAX_LENGTH", f"Must be {CHOICES} or fewer in length.")
    for index, choice in enumerate(choices):
        _check_length(f"data.choices.{index}.name", choice.get("name"), CHOICE_LENGTH, 1)
        if isinstance(choice.get("value"), str):
            _check_length(f"data.choices.{index}.value", choice["value"], CHOICE_LENGTH, 1)


def check_modal(modal: Json) -> None:
    """Check a modal.

    Raises:
        ApiError: title, ids, labels or the number of fields break a limit.
    """
    _check_length("data.title", modal.get("title"), 45, 1)
    _check_length("data.custom_id", modal.get("custom_id"), 100, 1)
    components = modal.get("components") or []
    if not 1 <= len(components) <= ROWS:
        raise invalid_form("data.components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
    for part in walk(components):
        if part["type"] == TEXT_INPUT:
            _check_length("data.components.custom_id", part.get("custom_id"), 100, 1)
            _check_length("data.components.label", part.get("label") or "", 45)
            _check_length("data.components.placeholder", part.get("placeholder") or "", 100)
            _check_length("data.components.value", part.get("value") or "", 4000)
        elif part["type"] == LABEL:
            _check_length("data.components.label", part.get("label"), 45, 1)
            _check_length("data.components.description", part.get("description") or "", 100)
