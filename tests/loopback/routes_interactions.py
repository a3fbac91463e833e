"""REST routes by which the bot answers interactions: the callback, the original response, follow-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .channels import now
from .errors import ApiError, Json, unknown
from .interactions import Interaction, Kind, Response
from .limits import check_choices, check_message, check_modal
from .messages import COMPONENTS_V2, CONTEXT_MENU_RESPONSE, EPHEMERAL, LOADING, SLASH_RESPONSE, Message
from .payloads import message_json, user_json
from .wire import Answer, Routes

if TYPE_CHECKING:
    from .backend import Backend
    from .wire import Call

routes = Routes()

_KEPT_FLAGS = EPHEMERAL | COMPONENTS_V2 | 1 << 2 | 1 << 12
_FOR_COMPONENTS = (Response.DEFERRED_UPDATE, Response.UPDATE)


@routes.add("POST", "/interactions/{interaction_id}/{token}/callback", public=True)
async def callback(backend: Backend, call: Call) -> Answer:
    """Take the bot's first response; with ``with_response=1`` tell what came of it."""
    interaction = backend.interactions.get(call.params["token"])
    if interaction is None or interaction.id != call.param("interaction_id"):
        raise unknown("interaction", 10062)
    response = _response(interaction, call)
    payload = call.body.get("data") or {}
    _check_response(response, payload, call)
    interaction.acknowledge(response)
    _respond(backend, interaction, call, payload)
    if call.query.get("with_response") in ("1", "true"):
        return Answer(200, _callback_json(interaction))
    return Answer(204)


def _response(interaction: Interaction, call: Call) -> Response:
    number = call.body.get("type")
    if number not in list(Response):
        raise ApiError(400, 50035, f"the loopback does not know response type {number}")
    response = Response(number)
    autocomplete = interaction.kind is Kind.AUTOCOMPLETE
    misplaced = (
        autocomplete != (response is Response.CHOICES)
        or (response in _FOR_COMPONENTS and interaction.source is None)
        or (response is Response.MODAL and interaction.kind is Kind.MODAL_SUBMIT)
    )
    if misplaced:
        raise ApiError(400, 50035, f"{response.name} is no answer to {interaction.kind.name}")
    return response


def _check_response(response: Response, payload: Json, call: Call) -> None:
    if response is Response.MESSAGE:
        check_message(payload, call.files)
    elif response is Response.UPDATE:
        check_message(payload, call.files, editing=True)
    elif response is Response.CHOICES:
        check_choices(payload.get("choices"))
    elif response is Response.MODAL:
        check_modal(payload)


def _respond(backend: Backend, interaction: Interaction, call: Call, payload: Json) -> None:
    response = interaction.response
    if response is Response.CHOICES:
        interaction.choices = payload["choices"]
    elif response is Response.MODAL:
        interaction.modal = payload
    elif response is Response.DEFERRED_UPDATE:
        interaction.message = interaction.source
    elif response is Response.UPDATE:
        interaction.message = interaction.source
        _edit(backend, interaction, call, payload)
        return
    else:
        loading = LOADING if response is Response.DEFERRED_MESSAGE else 0
        interaction.message = _new_message(backend, interaction, call, payload, extra_flags=loading)
        interaction.ephemeral = interaction.message.ephemeral
        interaction.touch(shown=not loading)
        return
    interaction.touch()


def _new_message(
    backend: Backend, interaction: Interaction, call: Call, payload: Json, *, extra_flags: int = 0
) -> Message:
    """Put a message of the interaction into its channel, or show it to the user alone."""
    flags = int(payload.get("flags") or 0) & _KEPT_FLAGS | extra_flags
    first = interaction.message is None
    fields: Json = {
        "content": payload.get("content") or "",
        "embeds": payload.get("embeds") or [],
        "components": payload.get("components") or [],
        "attachments": backend.attachments(call, payload),
        "flags": flags,
        "type": _message_type(interaction) if first else 0,
        "webhook_id": backend.world.application.id,
        "application_id": backend.world.application.id,
        "allowed_mentions": payload.get("allowed_mentions"),
        "interaction": _metadata(interaction),
    }
    if flags & EPHEMERAL:
        message = Message(
            channel=interaction.channel,
            id=backend.world.new_id(),
            author=backend.world.bot,
            visible_to=interaction.user,
            **fields,
        )
        message.resolve_mentions()
        return message
    return interaction.channel.post(backend.world.bot, fields.pop("content"), **fields)


def _message_type(interaction: Interaction) -> int:
    if interaction.kind is not Kind.COMMAND:
        return 0
    return SLASH_RESPONSE if interaction.data["type"] == 1 else CONTEXT_MENU_RESPONSE


def _metadata(interaction: Interaction) -> Json:
    guild = interaction.channel.guild
    metadata: Json = {
        "id": str(interaction.id),
        "type": int(interaction.kind),
        "user": user_json(interaction.user),
        "authorizing_integration_owners": {"0": str(guild.id) if guild else "0"},
    }
    if interaction.kind is Kind.COMPONENT and interaction.source is not None:
        metadata["interacted_message_id"] = str(interaction.source.id)
    return metadata


def _callback_json(interaction: Interaction) -> Json:
    message = interaction.message
    about: Json = {"id": str(interaction.id), "type": int(interaction.kind)}
    resource: Json = {"type": int(interaction.response or 0)}
    if message is not None:
        about |= {
            "response_message_id": str(message.id),
            "response_message_loading": message.loading,
            "response_message_ephemeral": message.ephemeral,
        }
        if interaction.response in (Response.MESSAGE, Response.DEFERRED_MESSAGE, Response.UPDATE):
            resource["message"] = message_json(message)
    return {"interaction": about, "resource": resource}


# --- the original response and follow-ups

_WEBHOOK = "/webhooks/{application_id}/{token}"


def _interaction(backend: Backend, call: Call) -> Interaction:
    interaction = backend.interactions.get(call.params["token"])
    if interaction is None or call.param("application_id") != backend.world.application.id:
        raise unknown("Webhook", 10015)
    interaction.require_token()
    return interaction


def _message(interaction: Interaction, call: Call) -> Message:
    name = call.params["message_id"]
    candidates = [interaction.message, *interaction.followups]
    if name == "@original":
        candidates = [interaction.message]
    for message in candidates:
        if message is not None and not message.deleted and name in ("@original", str(message.id)):
            return message
    raise unknown("Message", 10008)


@routes.add("GET", f"{_WEBHOOK}/messages/{{message_id}}", public=True)
async def fetch(backend: Backend, call: Call) -> Json:
    """The original response or a follow-up."""
    return message_json(_message(_interaction(backend, call), call))


@routes.add("PATCH", f"{_WEBHOOK}/messages/{{message_id}}", public=True)
async def edit(backend: Backend, call: Call) -> Json:
    """Edit the original response (which ends "thinking…") or a follow-up."""
    interaction = _interaction(backend, call)
    message = _message(interaction, call)
    check_message({"flags": message.flags} | call.body, call.files, editing=True)
    if message is interaction.message:
        _edit(backend, interaction, call, call.body)
    else:
        backend.apply_edit(message, call, call.body)
        _announce(message)
        interaction.touch()
    return message_json(message)


def _edit(backend: Backend, interaction: Interaction, call: Call, payload: Json) -> None:
    message = interaction.message
    if message is None:
        raise unknown("Message", 10008)
    was_loading = message.loading
    message.flags &= ~LOADING
    backend.apply_edit(message, call, payload)
    message.edited_at = None if was_loading else now()
    _announce(message)
    interaction.touch(shown=True)


def _announce(message: Message) -> None:
    if not message.ephemeral:
        message.channel.announce("MESSAGE_UPDATE", message)


@routes.add("DELETE", f"{_WEBHOOK}/messages/{{message_id}}", public=True)
async def delete(backend: Backend, call: Call) -> None:
    """Delete the original response or a follow-up."""
    interaction = _interaction(backend, call)
    message = _message(interaction, call)
    if message.ephemeral:
        message.deleted = True
    else:
        message.delete()
    interaction.touch()


@routes.add("POST", _WEBHOOK, public=True)
async def follow_up(backend: Backend, call: Call) -> Json:
    """Send a further message; the first one after a deferral becomes the answer itself."""
    interaction = _interaction(backend, call)
    check_message(call.body, call.files)
    original = interaction.message
    if interaction.response is Response.DEFERRED_MESSAGE and original is not None and original.loading:
        interaction.answered_by_followup = True
        _edit(backend, interaction, call, {**call.body, "flags": None})
        return message_json(original)
    message = _new_message(backend, interaction, call, call.body)
    interaction.followups.append(message)
    interaction.touch()
    return message_json(message)
