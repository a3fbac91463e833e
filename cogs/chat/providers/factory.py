"""From the settings, or a guild's choice, to a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogs.chat.exceptions import ProviderNotAllowed
from cogs.chat.providers.extractive import ExtractiveProvider
from cogs.chat.providers.reply_texts import ENGLISH, ReplyTexts
from profiles.settings import CHAT_PROVIDERS

if TYPE_CHECKING:
    from cogs.chat.providers import ReplyProvider
    from cogs.chat.providers.local import LocalModels
    from profiles import Settings

DEFAULT_LOCAL_MODEL: Final = "Qwen/Qwen3-0.6B"


def create_provider(
    settings: Settings, kind: str | None = None, *, models: LocalModels | None = None, texts: ReplyTexts = ENGLISH
) -> ReplyProvider:
    """Make a provider; it loads and connects to nothing before its first reply.

    Args:
        settings: the operator's; ``CHAT_*``.
        kind: one of `CHAT_PROVIDERS`; None for ``CHAT_PROVIDER``.
        models: where a local model comes from and runs; only the kind ``local`` needs it.
        texts: the language of the extractive provider.

    Raises:
        ProviderNotAllowed: there is no such kind, or the settings lack what it needs; the message says which.
    """
    wanted = (kind or settings.chat_provider).strip().lower()
    if wanted == "extractive":
        return ExtractiveProvider(texts)
    if wanted == "openai":
        return _openai_compatible(settings)
    if wanted == "local":
        return _local(settings, models)
    raise ProviderNotAllowed(
        f"There is no reply provider {wanted[:60]!r}; the providers are {', '.join(CHAT_PROVIDERS)}."
    )


def _openai_compatible(settings: Settings) -> ReplyProvider:
    from cogs.chat.providers.openai_compatible import OpenAICompatibleProvider

    if settings.chat_base_url is None:
        raise ProviderNotAllowed(
            "The provider openai needs CHAT_BASE_URL, such as http://127.0.0.1:11434/v1 for Ollama on this machine."
        )
    if settings.chat_model is None:
        raise ProviderNotAllowed("The provider openai needs CHAT_MODEL: the server's name for its model.")
    return OpenAICompatibleProvider(
        settings.chat_base_url,
        settings.chat_model,
        api_key=settings.chat_api_key.get_secret_value() if settings.chat_api_key else None,
        timeout_s=settings.chat_timeout_s,
        max_tokens=settings.chat_max_tokens,
    )


def _local(settings: Settings, models: LocalModels | None) -> ReplyProvider:
    from cogs.chat.providers.local import LocalProvider

    if models is None:
        raise ProviderNotAllowed("The provider local needs a running memory: it works on the memory's model thread.")
    return LocalProvider(
        settings.chat_model or DEFAULT_LOCAL_MODEL,
        models,
        timeout_s=settings.chat_timeout_s,
        max_tokens=settings.chat_max_tokens,
    )
