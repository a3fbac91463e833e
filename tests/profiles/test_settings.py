from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import profiles
from profiles import Settings, SettingsError, load_settings
from profiles.loading import TIERS
from profiles.settings import PROJECT_FOLDER

NAMES = [field.upper() for field in Settings.model_fields]
SECRETS = ["DISCORD_TOKEN", "CHAT_API_KEY"]


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings(env_file=None)


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, **variables)
    return str(caught.value)


def test_nothing_set_gives_the_defaults() -> None:
    found = load_settings(env_file=None)
    assert found.memory_data == PROJECT_FOLDER / "data/memory"
    assert (found.memory_profile, found.log_level, found.log_format) == ("auto", "INFO", "text")
    assert (found.reranker_preset, found.models_allowed) == ("production", ())
    assert (found.chat_provider, found.chat_timeout_s, found.chat_max_tokens) == ("extractive", 60, 512)
    assert found.chat_direct_messages is False
    assert found.metrics_host == "127.0.0.1"
    rest = set(Settings.model_fields) - {
        "memory_data",
        "memory_profile",
        "log_level",
        "log_format",
        "reranker_preset",
        "models_allowed",
        "chat_provider",
        "chat_timeout_s",
        "chat_max_tokens",
        "chat_direct_messages",
        "metrics_host",
    }
    assert {getattr(found, field) for field in rest} == {None}


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_says_what_it_is_for_and_what_it_allows(field: str) -> None:
    info = Settings.model_fields[field]
    extra = info.json_schema_extra
    assert info.description
    assert info.description.endswith(".")
    assert isinstance(extra, dict)
    assert extra["allowed"]


GOOD = [
    ("MEMORY_DATA", "elsewhere", PROJECT_FOLDER / "elsewhere"),
    ("MEMORY_DATA", "/var/lib/memory", Path("/var/lib/memory")),
    ("MEMORY_PROFILE", "cpu-basic", "cpu-basic"),
    ("MEMORY_PROFILE", " AUTO ", "auto"),
    ("MEMORY_PROFILE", "mine.toml", str(PROJECT_FOLDER / "mine.toml")),
    ("LOG_LEVEL", "debug", "DEBUG"),
    ("LOG_FORMAT", "JSON", "json"),
    ("RERANKER_ENABLED", "off", False),
    ("RERANKER_ENABLED", "TRUE", True),
    ("RERANKER_TYPE", "Cross_Encoder", "cross_encoder"),
    ("RERANKER_MODEL", "BAAI/bge-reranker-base", "BAAI/bge-reranker-base"),
    ("RERANKER_URL", "http://127.0.0.1:9000 ", "http://127.0.0.1:9000"),
    ("RERANKER_CLASS", " my.rerankers:Best ", "my.rerankers:Best"),
    ("RERANKER_AB_TEST", "true", True),
    ("RERANKER_PRESET", "Speed", "speed"),
    ("RERANKER_TOP_N", "100", 100),
    ("RERANKER_BATCH_SIZE", "16", 16),
    ("RERANKER_DEADLINE_MS", "2500", 2500),
    ("RERANKER_DEADLINE_MS", "None", "none"),
    ("RETRIEVER_TYPE", "rrf", "rrf"),
    ("VECTOR_TOP_K", "1000", 1000),
    ("KEYWORD_TOP_K", "1", 1),
    ("CHAT_PROVIDER", "OpenAI", "openai"),
    ("CHAT_BASE_URL", " http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
    ("CHAT_MODEL", "llama3.1", "llama3.1"),
    ("CHAT_TIMEOUT_S", "7.5", 7.5),
    ("CHAT_MAX_TOKENS", "16", 16),
    ("MODELS_FOLDER", "profiles", PROJECT_FOLDER / "profiles"),
    ("MODELS_ALLOWED", "a/b, BAAI/bge-m3 ,", ("a/b", "BAAI/bge-m3")),
    ("MODELS_ALLOWED", "a/b@5c38ec7c,c/d@v1.0", ("a/b@5c38ec7c", "c/d@v1.0")),
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD, ids=[f"{name}={text}" for name, text, _ in GOOD])
def test_a_variable_is_read_and_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, text: str, value: object
) -> None:
    assert getattr(read(monkeypatch, **{name: text}), name.lower()) == value
    monkeypatch.delenv(name)
    env_file = tmp_path / ".env"
    env_file.write_text(f"\ufeff{name}='{text}'\n", encoding="utf-8")
    assert getattr(load_settings(env_file=env_file), name.lower()) == value


BAD = [
    ("MEMORY_PROFILE", "cpu_basic", f"auto, one of {', '.join(TIERS)}, or the path of a .toml file", "cpu-basic"),
    ("LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL", None),
    ("LOG_LEVEL", "warn", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL", "WARNING"),
    ("LOG_FORMAT", "xml", "one of text, json", None),
    ("RERANKER_ENABLED", "perhaps", "true or false", None),
    ("RERANKER_TYPE", "qwen", "one of none, late_interaction, qwen3, cross_encoder, remote, custom", "qwen3"),
    ("RERANKER_URL", "localhost:80", "an http:// or https:// address", None),
    ("RERANKER_PRESET", "fastest", "one of production, quality, speed", None),
    ("RERANKER_TOP_N", "0", "a whole number from 1 to 100", None),
    ("RERANKER_TOP_N", "five", "a whole number from 1 to 100", None),
    ("RERANKER_TOP_N", "2.5", "a whole number from 1 to 100", None),
    ("RERANKER_BATCH_SIZE", "-1", "a whole number from 1 to 4096", None),
    ("RERANKER_DEADLINE_MS", "0", "a whole number from 1 to 600000, or none", None),
    ("RERANKER_DEADLINE_MS", "soon", "a whole number from 1 to 600000, or none", None),
    ("RETRIEVER_TYPE", "vectors", "one of hybrid, rrf, vector, keyword", "vector"),
    ("VECTOR_TOP_K", "1001", "a whole number from 1 to 1000", None),
    ("KEYWORD_TOP_K", "nan", "a whole number from 1 to 1000", None),
    ("CHAT_PROVIDER", "locale", "one of extractive, openai, local", "local"),
    ("CHAT_BASE_URL", "localhost", "an http:// or https:// address", None),
    ("CHAT_TIMEOUT_S", "0.5", "a number from 1 to 600", None),
    ("CHAT_TIMEOUT_S", "nan", "a number from 1 to 600", None),
    ("CHAT_MAX_TOKENS", "5000", "a whole number from 16 to 4096", None),
    ("MODELS_FOLDER", "no/such/folder", "an existing folder", None),
    ("MODELS_ALLOWED", "a/b,../../etc", "a comma-separated list", None),
    ("MODELS_ALLOWED", "http://host/model", "a comma-separated list", None),
    ("RERANKER_CLASS", "os.system", "package.module:Class", None),
    ("RERANKER_CLASS", "../evil:Class", "package.module:Class", None),
    ("RERANKER_AB_TEST", "half", "true or false", None),
    ("MODELS_ALLOWED", "a/..", "a comma-separated list", None),
]


@pytest.mark.parametrize(("name", "text", "allowed", "meant"), BAD, ids=[f"{name}={text}" for name, text, _, _ in BAD])
def test_a_bad_value_is_one_line_that_says_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, allowed: str, meant: str | None
) -> None:
    message = refusal(monkeypatch, **{name: text})
    assert message.startswith(f"{name} must be {allowed}")
    assert f", not {text!r}" in message
    assert "\n" not in message
    assert ("did you mean" in message) == (meant is not None)
    assert meant is None or f"did you mean {meant!r}?" in message


def test_a_secret_that_is_no_word_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, RERANKER_API_KEY="two words")
    assert message == "RERANKER_API_KEY must be the key of the rerank server, without blanks"
    settings = read(monkeypatch, RERANKER_API_KEY=" key-of-the-server ")
    assert settings.reranker_api_key is not None
    assert settings.reranker_api_key.get_secret_value() == "key-of-the-server"
    assert "key-of-the-server" not in repr(settings)


def test_a_pin_that_is_no_revision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MODELS_ALLOWED must be a comma-separated list" in refusal(monkeypatch, MODELS_ALLOWED="a/b@../x")


def test_every_problem_gets_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, RERANKER_TOP_N="x", VECTOR_TOP_K="y", LOG_LEVEL="z", RERANKER_TOPN="1")
    assert [line.split(" ")[0] for line in sorted(message.splitlines())] == [
        "LOG_LEVEL",
        "RERANKER_TOP_N",
        "The",
        "VECTOR_TOP_K",
        "the",
    ]


def test_a_long_value_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(refusal(monkeypatch, RERANKER_TYPE="x" * 10_000)) < 300


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, name: str, empty: str) -> None:
    assert read(monkeypatch, **{name: empty}) == load_settings(env_file=None)


def test_the_environment_wins_over_the_file_and_an_override_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("RERANKER_TOP_N=3\nVECTOR_TOP_K=30\nLOG_LEVEL=DEBUG\n", encoding="utf-8")
    monkeypatch.setenv("VECTOR_TOP_K", "40")
    monkeypatch.setenv("LOG_LEVEL", "")
    found = load_settings(env_file=env_file, reranker_top_n=9, memory_profile=None)
    assert (found.reranker_top_n, found.vector_top_k, found.log_level) == (9, 40, "DEBUG")
    assert found.memory_profile == "auto"


def test_paths_of_the_command_line_are_relative_to_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = load_settings(env_file=None, memory_data=Path("here"), memory_profile="mine.toml", models_folder=".")
    assert (found.memory_data, found.memory_profile) == (tmp_path / "here", str(tmp_path / "mine.toml"))
    assert found.models_folder == tmp_path
    assert load_settings(env_file=None, memory_profile="cpu").memory_profile == "cpu"


def test_an_override_that_is_no_setting_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="no setting is called profile"):
        load_settings(env_file=None, profile="cpu")


def test_a_bad_override_is_refused_like_a_variable() -> None:
    with pytest.raises(SettingsError, match="MEMORY_PROFILE must be auto, one of"):
        load_settings(env_file=None, memory_profile="huge")


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    secret = "postgresql://u:hunter2@h/d"
    found = read(monkeypatch, **{name: secret})
    assert getattr(found, name.lower()).get_secret_value() == secret
    assert "hunter2" not in f"{found} {found!r} {found.model_dump()}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DISCORD_TOKEN", "hunter2 hunter2"),
        ("CHAT_API_KEY", "hunter2 hunter2"),
        ("RERANKER_URL", "ftp://u:hunter2@h/"),
        ("CHAT_BASE_URL", "ftp://u:hunter2@h/"),
    ],
)
def test_an_error_shows_no_secret_even_in_its_traceback(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(env_file=None)
    assert str(caught.value).startswith(f"{name} must be ")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_an_unknown_variable_in_the_file_is_refused_with_the_nearest(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("RERANKER_TOPN=5\nHF_ENDPOINT=https://mirror.example\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(env_file=env_file)
    first, second, known = str(caught.value).splitlines()
    assert "RERANKER_TOPN is no setting (did you mean 'RERANKER_TOP_N'?)" in first
    assert "HF_ENDPOINT is no setting" in second
    assert "belongs in the process environment" in known
    assert all(name in known for name in NAMES)


def test_the_file_of_a_bot_that_loads_the_cogs_may_hold_its_own_variables(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("PREFIX=!\nOPENAI_API_KEY=x\nexport NOTHING\nRERANKER_TOP_N=7\n", encoding="utf-8")
    assert load_settings(env_file=env_file, is_shared=True).reranker_top_n == 7
    env_file.write_text("PREFIX=!\nRERANKER_TOPN=7\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"RERANKER_TOPN is no setting") as caught:
        load_settings(env_file=env_file, is_shared=True)
    assert "PREFIX" not in str(caught.value)


def test_a_file_shared_with_a_launcher_may_hold_what_the_launcher_exported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("export HF_ENDPOINT=https://mirror.example\nLOG_LEVEL=ERROR # loud\n", encoding="utf-8")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    assert load_settings(env_file=env_file).log_level == "ERROR"


def test_a_mistyped_variable_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, RERANKER_MODELS="x")
    assert message.startswith("the environment: RERANKER_MODELS is no setting (did you mean 'RERANKER_MODEL'?)")


@pytest.mark.parametrize("line", ["LOG_LEVEL", "LOG LEVEL=DEBUG", "=x"])
def test_a_line_that_is_no_variable_is_refused(tmp_path: Path, line: str) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"# first\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="line 2 is not of the form NAME=value"):
        load_settings(env_file=env_file)


def test_a_file_that_is_not_utf_8_is_refused_without_showing_it(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_bytes(b"DISCORD_TOKEN=hunter2\xff\n")
    with pytest.raises(SettingsError, match=r"is not UTF-8 text \(byte 21\)") as caught:
        load_settings(env_file=env_file)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_file_is_like_an_empty_one(tmp_path: Path) -> None:
    assert load_settings(env_file=tmp_path / "none") == load_settings(env_file=None)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(NAMES), value=st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8")))
def test_any_text_in_any_variable_is_a_value_or_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with monkeypatch.context() as environment:
        environment.setenv(name, value)
        try:
            assert isinstance(load_settings(env_file=None), Settings)
        except SettingsError as error:
            assert str(error).startswith(f"{name} must be ")  # noqa: PT017 — either outcome is right


def test_settings_are_frozen_and_travel_to_another_process() -> None:
    found = load_settings(env_file=None, discord_token="abc")
    with pytest.raises(ValueError, match="frozen"):
        found.log_level = "DEBUG"
    assert pickle.loads(pickle.dumps(found)) == found


def test_importing_profiles_imports_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys, profiles; profiles.select_profile(profiles.detect_hardware(probe_accelerators=False));"
        "assert not {'torch', 'pydantic', 'transformers', 'numpy'} & set(sys.modules), 'imported too much';"
        "assert profiles.load_settings and 'pydantic' in sys.modules"
    )
    environment = {"PATH": os.environ.get("PATH", "")}
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_FOLDER, env=environment, check=True)


def test_every_exported_name_exists_and_others_do_not() -> None:
    for name in profiles.__all__:
        assert getattr(profiles, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        profiles.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_several_databases_are_told_apart_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    both = "postgresql://u:s3cret@a,b:5432/x, postgres://u:s3cret@c/x?sslmode=require"
    monkeypatch.setenv("MEMORY_DATABASE", both)
    found = load_settings(env_file=None)
    assert found.databases == ("postgresql://u:s3cret@a,b:5432/x", "postgres://u:s3cret@c/x?sslmode=require")
    assert "s3cret" not in f"{found!r}{found}"
    monkeypatch.setenv("MEMORY_DATABASE", "mysql://u:s3cret@a/x")
    with pytest.raises(SettingsError, match="MEMORY_DATABASE must be an address") as caught:
        load_settings(env_file=None)
    assert "s3cret" not in str(caught.value)
