"""The operator's settings: environment variables and the ``.env`` file beside ``bot.py``.

A variable of the environment wins over the file. An empty one counts as unset.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from profiles.env_file import unknown_variables
from profiles.errors import SettingsError
from profiles.loading import PRESETS, TIERS, Preset, is_profile_path
from profiles.memory_profile import CHOICES, LIMITS, RerankerType, RetrieverType, is_http_url
from profiles.nearest import did_you_mean
from profiles.setting_fields import choice, in_any_case, number, setting, split_commas

PROJECT_FOLDER: Final = Path(__file__).resolve().parents[1]
_MODEL_NAME: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[A-Za-z0-9][\w.-]*)?", re.ASCII)
_CLASS: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_DATABASE: Final = re.compile(r"postgres(?:ql)?://[^\s]+")
_BETWEEN_ADDRESSES: Final = re.compile(r",\s*(?=postgres(?:ql)?://)")
_LONGEST_SHOWN: Final = 60

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LogFormat = Literal["text", "json"]
ChatProvider = Literal["extractive", "openai", "local"]
CHAT_PROVIDERS: Final[tuple[str, ...]] = get_args(ChatProvider)


_Deadline = Annotated[int, Field(ge=int(LIMITS["rerank_deadline_ms"].low), le=int(LIMITS["rerank_deadline_ms"].high))]


class Settings(BaseSettings):
    """What the operator decides; None means that the profile does. Built by `load_settings`, which words the errors.

    The variables are the fields' names in capitals; paths in them are relative to the project folder.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        env_file_encoding="utf-8-sig",  # Windows editors put a byte order mark
        hide_input_in_errors=True,
    )

    discord_token: SecretStr | None = setting(
        None,
        "the token of the bot, without blanks",
        "The bot's token, from Discord's developer portal. Without one, bot.py opens the local console.",
    )
    memory_data: Path = setting(
        Path("data/memory"),
        "the path of a folder",
        "The folder that the memory is kept in.",
    )
    memory_key: SecretStr | None = setting(
        None,
        "a passphrase, better of 12 characters or more",
        "Encrypts the database: random, such as openssl rand -base64 32 makes it, and kept safe, for without it "
        "nothing can be read again. The log warns of one that is easily guessed. An existing database is encrypted by "
        "bot.py encrypt. Needs the package sqlcipher3.",
    )
    memory_key_file: Path | None = setting(
        None,
        "a file with such a passphrase in its first line, in place of MEMORY_KEY",
        "The file that the passphrase is read from, such as a secret of Docker or systemd.",
    )
    memory_database: SecretStr | None = setting(
        None,
        "an address such as postgresql://user:password@host/database, or several with commas between them",
        "The PostgreSQL server (15 or newer, with pgvector) that keeps the memory in place of MEMORY_DATA, for more "
        "than one bot process. Servers are spread over by guild; their number and order must not change.",
    )
    memory_profile: str = setting(
        "auto",
        f"auto, one of {', '.join(TIERS)}, or the path of a .toml file",
        "How much of the machine the memory uses: auto looks at the hardware; a file of your own may start from a "
        "tier (see profiles/embedded.toml).",
        words=("auto", *TIERS),
    )
    log_level: Annotated[LogLevel, in_any_case(get_args(LogLevel))] = choice(
        "INFO", get_args(LogLevel), "The least important lines that are logged."
    )
    log_format: Annotated[LogFormat, in_any_case(get_args(LogFormat))] = choice(
        "text", get_args(LogFormat), "Lines for people, or one JSON object each for a log collector."
    )
    metrics_port: int | None = setting(
        None,
        "a whole number from 1 to 65535",
        "The port of the Prometheus endpoint /metrics. Unset, nothing is served.",
        ge=1,
        le=65535,
    )
    metrics_host: str = setting(
        "127.0.0.1",
        "an IP address or host name of this machine",
        "The address that /metrics is served on; whoever reaches it can read the numbers, which name nobody.",
        pattern=r"^[A-Za-z0-9.:-]+$",
    )

    reranker_enabled: bool | None = setting(
        None,
        "true or false",
        "Whether results are reranked at all. false shows them in retrieval order.",
    )
    embedder_url: str | None = setting(
        None,
        "an http:// or https:// address",
        "An embedding server (/v1/embeddings), shared by several bots or with a GPU. It reads every message.",
    )
    embedder_model: str | None = setting(None, "the server's name for its model", "The embedding server's model.")
    embedder_dim: int | None = number("embedding_dim", "Dimensions kept of the embedding server's vectors.")
    embedder_api_key: SecretStr | None = setting(
        None, "the key of the embedding server, without blanks", "Sent to the embedding server as a bearer token."
    )
    reranker_type: Annotated[RerankerType | None, in_any_case(CHOICES["reranker"])] = choice(
        None,
        CHOICES["reranker"],
        "What reranks: late_interaction needs no weights of its own; qwen3, cross_encoder and remote put a model on "
        "top of it, custom the class that RERANKER_CLASS names.",
    )
    reranker_model: str | None = setting(
        None,
        "a Hugging Face name, a local folder, or the server's name for its model",
        "The reranker's model. Unset, it is the profile's, or the usual one of RERANKER_TYPE.",
    )
    reranker_url: str | None = setting(
        None,
        "an http:// or https:// address",
        "The rerank server's address, for RERANKER_TYPE=remote. It reads the messages that it scores.",
    )
    reranker_api_key: SecretStr | None = setting(
        None,
        "the key of the rerank server, without blanks",
        "Sent to the rerank server as a bearer token, if it asks for one.",
    )
    reranker_class: str | None = setting(
        None,
        "package.module:Class",
        "A reranker of your own: a class with token_counts, score, close and key, made with the keyword profile (see "
        "CONTRIBUTING.md). Its module's code is run.",
    )
    reranker_ab_test: bool | None = setting(
        None,
        "true or false",
        "Whether half of the people, always the same ones, are answered without the reranker, so that its worth can "
        "be seen.",
    )
    reranker_preset: Annotated[Preset, in_any_case(PRESETS)] = choice(
        "production",
        PRESETS,
        "production is the profile as it is; quality reads twice as many candidates and may take two and a half "
        "times as long; speed halves both.",
    )
    reranker_top_n: int | None = number("recall_limit", "How many results a /recall shows.")
    reranker_batch_size: int | None = number(
        "rerank_batch", "Pairs in one pass of a cross-encoder, or texts in one request to a server."
    )
    reranker_deadline_ms: Annotated[_Deadline | Literal["none"] | None, in_any_case(("none",))] = setting(
        None,
        f"{LIMITS['rerank_deadline_ms']}, or none",
        "Milliseconds that a /recall may spend on reranking; a reply's own deadline is lowered to it. "
        "none takes the time it takes.",
    )
    retriever_type: Annotated[RetrieverType | None, in_any_case(CHOICES["retriever"])] = choice(
        None,
        CHOICES["retriever"],
        "What finds candidates: hybrid unites vectors and keywords, rrf fuses them by rank, or one of the two alone.",
    )
    vector_top_k: int | None = number("vector_candidates", "Candidates found by vectors.")
    keyword_top_k: int | None = number("keyword_candidates", "Candidates found by keywords.")

    chat_provider: Annotated[ChatProvider, in_any_case(CHAT_PROVIDERS)] = choice(
        "extractive",
        CHAT_PROVIDERS,
        "What writes replies: extractive quotes the memory and needs no language model; openai asks a server, local "
        "runs a model in the bot.",
    )
    chat_base_url: str | None = setting(
        None,
        "an http:// or https:// address",
        "The chat server's address, for CHAT_PROVIDER=openai: Ollama's is http://127.0.0.1:11434/v1. It reads the "
        "conversation and the quotes.",
    )
    chat_api_key: SecretStr | None = setting(
        None,
        "the chat server's key, without blanks",
        "The key that the chat server asks for; unset for servers that ask for none.",
    )
    chat_model: str | None = setting(
        None,
        "the server's name for its model, a Hugging Face name, or a local folder",
        "The language model. Unset, local runs Qwen/Qwen3-0.6B.",
    )
    chat_timeout_s: Annotated[float, Field(ge=1, le=600)] = setting(
        60.0,
        "a number from 1 to 600",
        "Seconds that a reply may take; half of them may pass before its first words. Then the quotes answer.",
    )
    chat_max_tokens: Annotated[int, Field(ge=16, le=4096)] = setting(
        512,
        "a whole number from 16 to 4096",
        "Tokens of a reply at most.",
    )
    chat_direct_messages: bool = setting(
        False,
        "true or false",
        "Whether direct messages are replied to. Nothing of a server's memory is used there.",
    )

    models_folder: Path | None = setting(
        None,
        "an existing folder",
        "A folder of models, each in a folder of its name; what is there is not downloaded.",
    )
    models_allowed: Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)] = setting(
        (),
        "a comma-separated list of Hugging Face names such as BAAI/bge-reranker-v2-m3, each with @revision to pin it",
        "Models that may be loaded beside the ones that the project names.",
    )

    @property
    def databases(self) -> tuple[str, ...]:
        """The addresses in ``memory_database``, with their passwords: for the store alone."""
        return _addresses(self.memory_database.get_secret_value()) if self.memory_database else ()

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if not (isinstance(value, str) and not value.strip())}

    @field_validator("memory_key")
    @classmethod
    def _is_trimmed(cls, key: SecretStr | None) -> SecretStr | None:
        return SecretStr(key.get_secret_value().strip()) if key else None

    @field_validator("discord_token", "reranker_api_key", "embedder_api_key", "chat_api_key")
    @classmethod
    def _is_one_word(cls, secret: SecretStr | None) -> SecretStr | None:
        words = secret.get_secret_value().split() if secret else []
        _require(len(words) < 2)
        return SecretStr(words[0]) if words else None

    @field_validator("memory_database")
    @classmethod
    def _are_databases(cls, database: SecretStr | None) -> SecretStr | None:
        _require(database is None or bool(database_addresses(database.get_secret_value())))
        return database

    @field_validator("memory_profile")
    @classmethod
    def _is_tier_or_path(cls, profile: str) -> str:
        stripped = profile.strip()
        if is_profile_path(stripped):
            return str(_absolute(stripped, PROJECT_FOLDER))
        _require(stripped.lower() in ("auto", *TIERS))
        return stripped.lower()

    @field_validator("memory_data", "memory_key_file", "models_folder")
    @classmethod
    def _is_in_project(cls, folder: Path | None) -> Path | None:
        return None if folder is None else _absolute(folder, PROJECT_FOLDER)

    @field_validator("models_folder")
    @classmethod
    def _exists(cls, folder: Path | None) -> Path | None:
        _require(folder is None or os.path.isdir(folder))  # noqa: PTH112 — Path.is_dir raises where a parent is closed
        return folder

    @field_validator("reranker_url", "embedder_url", "chat_base_url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        stripped = None if url is None else url.strip()
        _require(stripped is None or is_http_url(stripped))
        return stripped

    @field_validator("reranker_class")
    @classmethod
    def _is_class(cls, path: str | None) -> str | None:
        stripped = None if path is None else path.strip()
        _require(stripped is None or _CLASS.fullmatch(stripped) is not None)
        return stripped

    @field_validator("models_allowed")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        _require(all(_MODEL_NAME.fullmatch(name) for name in names))
        return names

    def database_key(self) -> str | None:
        """The passphrase of the database, from where it was put; None if there is none.

        Raises:
            SettingsError: two are set, or the file cannot be read or holds none.
        """
        if self.memory_key_file is None:
            return None if self.memory_key is None else self.memory_key.get_secret_value()
        if self.memory_key is not None:
            raise SettingsError("MEMORY_KEY and MEMORY_KEY_FILE are both set: one of them must go")
        try:
            lines = self.memory_key_file.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise SettingsError(f"MEMORY_KEY_FILE {self.memory_key_file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise SettingsError(
                f"MEMORY_KEY_FILE {self.memory_key_file} is not text"
            ) from None  # it would show the key
        if not lines or not lines[0].strip():
            raise SettingsError(f"MEMORY_KEY_FILE {self.memory_key_file} holds no passphrase in its first line")
        return lines[0].strip()


def database_addresses(text: str) -> tuple[str, ...]:
    """The addresses of PostgreSQL databases in a list with commas between them; none if it is anything else."""
    addresses = _addresses(text)
    return addresses if all(map(_DATABASE.fullmatch, addresses)) else ()


def _addresses(text: str) -> tuple[str, ...]:
    # One address may name several hosts of one cluster, with commas too.
    return tuple(part.strip() for part in _BETWEEN_ADDRESSES.split(text))


def load_settings(
    *, env_file: Path | None = PROJECT_FOLDER / ".env", is_shared: bool = False, **overrides: object
) -> Settings:
    """Read the settings from the environment and a file.

    Args:
        env_file: the file of further variables; a missing one is like an empty one, None reads none.
        is_shared: the file is that of another program, a bot that loads the cogs, and may hold whatever that reads.
        overrides: fields by name, as the command line gives them; they win, None counts as not given, and paths in
            them are relative to the working directory.

    Raises:
        SettingsError: a line for each variable that is unknown or whose value is not allowed.
        TypeError: an override is no field of `Settings`.
    """
    if strangers := overrides.keys() - Settings.model_fields.keys():
        raise TypeError(f"no setting is called {', '.join(sorted(strangers))}")
    given = {field: _from_command_line(field, value) for field, value in overrides.items() if value is not None}
    names = [field.upper() for field in Settings.model_fields]
    problems = unknown_variables(env_file, names, os.environ, is_shared=is_shared)
    arguments: dict[str, Any] = {"_env_file": env_file, **given}
    if not is_shared:
        logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # it warns of lines that are told below
    try:
        settings = Settings(**arguments)
    except ValidationError as error:
        faults = {str(fault["loc"][0]): fault["input"] for fault in error.errors()}
        problems += [_sentence(field, value) for field, value in faults.items()]
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _from_command_line(field: str, value: object) -> object:
    is_path = field in ("memory_data", "models_folder") or (field == "memory_profile" and is_profile_path(str(value)))
    return str(_absolute(str(value), Path.cwd())) if is_path else value


def _absolute(path: Path | str, base: Path) -> Path:
    return base / os.path.expanduser(path)  # noqa: PTH111 — Path.expanduser fails on an unknown user


def _require(fits: bool) -> None:
    if not fits:
        raise ValueError  # `_sentence` words it


def _sentence(field: str, value: object) -> str:
    """Say what a field allows instead of a value, which is shown unless it may hold a secret."""
    info = Settings.model_fields[field]
    extra: Any = info.json_schema_extra
    sentence = f"{field.upper()} must be {extra['allowed']}"
    if SecretStr in get_args(info.annotation) or "@" in str(value):  # an address may carry a password
        return sentence
    shown = repr(value) if len(repr(value)) <= _LONGEST_SHOWN else f"{repr(value)[:_LONGEST_SHOWN]}…"
    return f"{sentence}, not {shown}{did_you_mean(str(value), extra['words'])}"
