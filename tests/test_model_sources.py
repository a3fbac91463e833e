"""What the operator's settings say reaches the models: his key, his class, the names and revisions he allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.exceptions import ModelNotAllowed, ModelUnavailable
from cogs.memory.model_loading import model_sources
from cogs.memory.reranker_service import RerankerService
from profiles import apply_settings, load_profile, load_settings
from tests.plugin_rerankers import WordReranker
from tests.rerankers.rerank_server import RerankServer

if TYPE_CHECKING:
    from pathlib import Path

    from profiles import MemoryProfile, Settings

KEY = "key-of-the-server"


class OwnReranker(WordReranker):
    """What an operator might write."""

    def __init__(self, profile: MemoryProfile) -> None:
        super().__init__(key=f"own:{profile.name}")


def service_for(settings: Settings) -> RerankerService:
    profile = apply_settings(load_profile(settings.memory_profile), settings)
    return RerankerService(profile, load=model_sources(settings).load_reranker)


def settings_for(tmp_path: Path, **settings: Any) -> Settings:
    return load_settings(env_file=None, memory_data=tmp_path, **settings)


async def test_the_key_reaches_the_server_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with RerankServer(api_key=KEY) as server:
        settings = settings_for(
            tmp_path,
            memory_profile="remote",
            reranker_url=server.url,
            reranker_api_key=KEY,
            reranker_deadline_ms="none",
        )
        async with service_for(settings) as service:
            [best, _] = await service.rerank_memories("red planet", ["tea", "the red planet"])
            statistics = service.get_statistics()
    assert best[0] == "the red planet"
    assert set(server.authorizations) == {f"Bearer {KEY}"}
    assert KEY not in caplog.text + repr(statistics) + repr(model_sources(settings))


async def test_without_the_key_the_server_s_refusal_is_told(tmp_path: Path) -> None:
    with RerankServer(api_key=KEY) as server:
        settings = settings_for(tmp_path, memory_profile="remote", reranker_url=server.url)
        async with service_for(settings) as service:
            with pytest.raises(ModelUnavailable, match="wants another API key"):
                await service.ready()


async def test_a_class_of_the_operator_s_own_serves(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, memory_profile="cpu", reranker_class=f"{__name__}:OwnReranker")
    async with service_for(settings) as service:
        [best, _] = await service.rerank_memories("red planet", ["tea", "the red planet"])
        assert best[0] == "the red planet"
        assert service.get_statistics()["model_model_key"] == "own:cpu"
        assert service.name == f"{__name__}:OwnReranker"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no.such.module:Class", "cannot be imported"),
        (f"{__name__}:Missing", "cannot be imported"),
        (f"{__name__}:KEY", "is no class"),
        ("pathlib:Path", "lacks token_counts, score"),
    ],
)
async def test_a_class_that_is_none_is_a_clear_error(tmp_path: Path, path: str, message: str) -> None:
    async with service_for(settings_for(tmp_path, memory_profile="cpu", reranker_class=path)) as service:
        with pytest.raises(ModelUnavailable, match=message):
            await service.ready()


def test_a_name_may_be_pinned_to_a_revision(tmp_path: Path) -> None:
    sources = model_sources(settings_for(tmp_path, models_allowed="my/reranker@0123abc"))
    assert sources.has("my/reranker@0123abc") is False
    with pytest.raises(ModelNotAllowed, match="MODELS_ALLOWED"):
        sources.has("other/reranker")


@pytest.mark.parametrize("name", ["../../etc", "http://host/model", "pathlib:Path", "a/b/c", "a@", "a\nb", "C:\\x"])
def test_no_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises((ModelNotAllowed, ModelUnavailable)):
        model_sources(settings_for(tmp_path)).load_reranker(
            apply_settings(load_profile("cpu"), settings_for(tmp_path, reranker_model=name))
        )
