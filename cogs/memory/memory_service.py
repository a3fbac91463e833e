"""`MemoryService`: remember, forget, recall, context for replies. It joins the services; the surface knows only it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from cogs.memory.candidate_retrieval import CandidateRetrieval
from cogs.memory.context_builder import MemoryContext, build_context, estimate_tokens
from cogs.memory.context_gate import decide, question_in
from cogs.memory.embedding_service import EmbeddingService
from cogs.memory.exceptions import MemoryCogError
from cogs.memory.ingest_lane import Delete, Upsert
from cogs.memory.ingest_queue import IngestQueue
from cogs.memory.key_strength import weakness
from cogs.memory.model_cache import ModelCache
from cogs.memory.model_loading import ModelSources
from cogs.memory.query_terms import parse_question
from cogs.memory.recall_pipeline import MAX_QUERY, RecallPipeline, Surface, check_query
from cogs.memory.relevance import RELEVANT
from cogs.memory.reranker_service import RerankerService
from cogs.memory.stores.choice import choose_store
from cogs.memory.worker import ModelWorker
from profiles import load_profile
from profiles.memory_profile import EMBEDDED_MODEL

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.recall_records import Recall
    from cogs.memory.records import ChannelInfo, Scope, StoredMessage, StoreStats
    from cogs.memory.reranker_service import Order
    from cogs.memory.serving_model import LoadReranker
    from cogs.memory.stores import MemoryStore
    from profiles import MemoryProfile

log = logging.getLogger(__name__)

CONTEXT_CANDIDATES = 50
"""Results that the context of a reply is chosen from."""
OVERTIME = 2.0
"""How many times its deadline a reply waits at most: reranking keeps the deadline itself, a busy store or worker does
not know it."""

__all__ = ["MAX_QUERY", "RELEVANT", "MemoryService", "Surface", "check_query"]


class MemoryService:
    """The memory of one process.

    Args:
        profile: how to use this machine.
        store: where messages live.
        worker: the thread that models and the index work on.
        sources: where models come from.
        load: makes the embedder; None for the profile's, from the sources.
        load_reranker: makes the reranker model, if the profile has one; None as above.
        named: makes a profile of its name for `reload`, as the process would be started with it; it may be slow.
    """

    def __init__(
        self,
        profile: MemoryProfile,
        store: MemoryStore,
        worker: ModelWorker,
        sources: ModelSources,
        *,
        load: LoadEncoder | None = None,
        load_reranker: LoadReranker | None = None,
        named: Callable[[str], MemoryProfile] = load_profile,
    ) -> None:
        self.profile = profile
        self.store = store
        self.worker = worker
        self.sources = sources
        self._named = named
        self._changes: set[asyncio.Task[str] | asyncio.Task[None]] = set()
        self._exchanging = asyncio.Lock()
        ready = profile.embedder_url is not None or sources.has(profile.embedder) or load is not None
        first = profile if ready else replace(profile, embedder=EMBEDDED_MODEL, embedding_dim=None)
        self._wants_embedder = None if ready else profile
        self.embedding = EmbeddingService(first, worker, load=load or sources.load_encoder)
        self.models = ModelCache(profile.model_cache_size, profile.model_cache_ttl_s)
        self.reranker = RerankerService(
            profile, worker=worker, models=self.models, load=load_reranker or sources.load_reranker
        )
        self.retrieval = CandidateRetrieval(profile, store, self.embedding)
        self.queue = IngestQueue(store, self.embedding, size=profile.ingest_queue_size, on_change=self._changed)
        self._pipeline = RecallPipeline(
            profile,
            store=store,
            embedding=self.embedding,
            retrieval=self.retrieval,
            reranker=self.reranker,
            ingest_problem=self.queue.problem_of,
        )
        self._watchers: list[Callable[[], None]] = []

    @classmethod
    def on_folder(
        cls,
        profile: MemoryProfile,
        folder: Path,
        *,
        databases: Sequence[str] = (),
        schema: str | None = None,
        sources: ModelSources | None = None,
        load: LoadEncoder | None = None,
        load_reranker: LoadReranker | None = None,
        key: str | None = None,
        named: Callable[[str], MemoryProfile] = load_profile,
    ) -> Self:
        """Make a memory in a data folder, or on database servers; models are kept in the folder unless said otherwise.

        Args:
            profile: how to use this machine.
            folder: where the embedded store keeps everything.
            databases: addresses of PostgreSQL servers, in place of the embedded store.
            schema: the schema in them; None for the usual one.
            sources: where models come from.
            load: makes the embedder, as for the constructor.
            load_reranker: makes the reranker model, as for the constructor.
            key: of the embedded store, which is encrypted with it.
            named: makes a profile of its name, as for the constructor.
        """
        if not databases and (warning := weakness(key)):
            log.warning("%s", warning)
        worker = ModelWorker()
        return cls(
            profile,
            choose_store(folder, databases, executor=worker, key=key, schema=schema),
            worker,
            sources or ModelSources(folder / "models"),
            load=load,
            load_reranker=load_reranker,
            named=named,
        )

    async def start(self) -> None:
        """Open the store, load the embedder and take up what waits; bigger models follow in the background.

        Raises:
            StoreError: the store cannot be opened.
            ModelUnavailable: the embedded model cannot be loaded.
        """
        try:
            await self.store.open()
            await self.store.use_space(await self.embedding.start())
        except BaseException:  # an open database or the worker would keep the process from ending
            await self.close()
            raise
        self.queue.start()
        await self.reranker.start()
        if self._wants_embedder is not None:
            self._changes.add(asyncio.create_task(self._upgrade_embedder(self._wants_embedder)))

    async def _upgrade_embedder(self, profile: MemoryProfile) -> None:
        """Fetch and load the embedder that the profile wants; the embedded one stays if that fails."""
        try:
            async with self.embedding.beside(profile) as fresh, self._exchanging:
                if self.profile is not profile:  # another one was asked for meanwhile
                    await asyncio.to_thread(fresh.close)
                    return
                space = await self.embedding.put_in_service(fresh, profile, self.store.use_space)
        except MemoryCogError as error:
            log.warning("The embedded embedder stays: %s", error)
        else:
            log.info("The embedder is %s now; messages are embedded again in the background", space.model)
            self.queue.take_up_work()

    async def close(self) -> None:
        """Apply what is queued (at most 5 s), then let go of everything; may be called twice."""
        for change in (changes := [*self._changes]):
            change.cancel()
        await asyncio.gather(*changes, return_exceptions=True)
        await self.queue.stop()
        await self.store.close()
        await self.embedding.close()
        await self.reranker.close()
        self.models.close()
        self.worker.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def remember(self, messages: Sequence[StoredMessage]) -> None:
        """Queue messages that were written, edited or found in a history. Waits while the queue is full."""
        if messages:
            await self.queue.put(Upsert(tuple(messages)))

    async def name_channels(self, channels: Iterable[ChannelInfo]) -> None:
        """Store what channels are called."""
        await self.store.put_channels(channels)

    async def forget(self, guild_id: int, message_ids: Iterable[int]) -> None:
        """Queue the removal of messages that are gone, behind everything queued before."""
        await self.queue.put(Delete(guild_id, tuple(message_ids)))

    async def recall(
        self,
        query: str,
        scope: Scope,
        *,
        limit: int | None = None,
        order: Order | None = None,
        collapse: bool = True,
        surface: Surface = "recall",
        instruction: str | None = None,
        asker_id: int | None = None,
        exclude: Collection[int] = (),
    ) -> Recall:
        """Find what was said.

        Args:
            query: the question, in anybody's words.
            scope: what this asker may read; computed before the search, checked again by the caller before sending.
            limit: results wanted; None for the profile's number.
            order: a ranking in place of the profile's (see `reranker_service.ORDERS`).
            collapse: show messages of the same words once.
            surface: whose deadline holds: a person's /recall, or a reply that waits for its context.
            instruction: what "relevant" means, for rerankers that read one; None for the usual one.
            asker_id: who takes part in an A/B test of the reranker, if there is one; None for nobody.
            exclude: ids of messages that count as never said.

        Raises:
            InvalidQuery: there is nothing to look for, or too much.
            MemoryCogError: the store or the embedder failed.
        """
        side = None if order is not None else self.reranker.side_of(asker_id)
        with self.worker.question():
            recall = await self._pipeline.recall(
                query,
                scope,
                limit=limit,
                order=self.reranker.order_without if side == "A" else order,
                collapse=collapse,
                surface=surface,
                instruction=instruction,
                exclude=frozenset(exclude),
            )
        if side is not None and asker_id is not None:
            self.reranker.ab_test.note(scope.guild_id, asker_id, side, recall)
        return recall

    async def build_context(
        self,
        query: str,
        scope: Scope,
        *,
        token_budget: int = 1000,
        per_author: int | None = None,
        count_tokens: Callable[[str], int] = estimate_tokens,
        gate: bool = True,
        exclude: Collection[int] = (),
        instruction: str | None = None,
    ) -> MemoryContext:
        """Find what a reply to ``query`` should know, as fenced quotes with their sources.

        Nothing is quoted, and ``reason`` says why, when the gate says that ``query`` needs no memory, when nothing
        relevant is found, or when that takes twice as long as the profile gives a reply.

        Args:
            query: what the reply answers.
            scope: what *everybody who will read the reply* may read.
            token_budget: tokens of the text, fence included.
            per_author: how many messages of one author at most; None lets nobody take more than 70 % of the room.
            count_tokens: the reply model's tokenizer.
            gate: whether to ask `context_gate.decide` first; False looks in any case.
            exclude: ids of messages that the reply knows already, first of all the one it answers.
            instruction: what "relevant" means, for rerankers that read one; None for the usual one.

        Raises:
            InvalidQuery: there is nothing to look for, and no gate.
            MemoryCogError: the store or the embedder failed.
        """
        decision = decide(query)
        if gate and not decision.needed:
            return MemoryContext.nothing(decision.reason)
        deadline = self.profile.injection_deadline_ms
        try:
            async with asyncio.timeout(None if deadline is None else OVERTIME * deadline / 1000):
                recall = await self.recall(
                    question_in(query),
                    scope,
                    limit=CONTEXT_CANDIDATES,
                    surface="injection",
                    exclude=exclude,
                    instruction=instruction,
                )
                channels = {channel.id: channel.name for channel in await self.store.channels(scope.guild_id)}
        except TimeoutError:
            log.warning("The memory took more than %.1f times its %d ms; a reply goes without it", OVERTIME, deadline)
            return MemoryContext.nothing("out of time")
        return build_context(
            recall.results,
            recall.trace,
            channels,
            token_budget=token_budget,
            least_relevance=RELEVANT,
            per_author=per_author,
            count_tokens=count_tokens,
            keywords=parse_question(recall.query).keywords,
            scope=scope,
            now=datetime.now(UTC),
        )

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:
        """Call ``told``, which must be quick, whenever something stored has changed; return what ends that."""
        self._watchers.append(told)
        return lambda: self._watchers.remove(told)

    def forget_caches(self, guild_id: int) -> None:
        """Drop every kept answer and the guild's names; an answer being computed of its old state is not kept."""
        self._pipeline.forget_caches(guild_id)
        self._tell_watchers()

    async def reload(self, profile: MemoryProfile | str | None = None) -> str:
        """Load the models of another profile beside the old ones, test them and swap; return a sentence.

        Args:
            profile: one, or the name of one, which comes with the settings of this process; None reads the models of
                the present one anew.

        Recalls under way end with the models they began with; a caller that is cancelled does not stop it. When the
        embedder changes, all messages are embedded again in the background; until then they are found by their words.

        Raises:
            ModelError: a model cannot be loaded or fails its test; the old ones stay.
            ProfileError: there is no such profile.
            SettingsError: the operator's settings do not go with it.
        """
        task = asyncio.create_task(self._reload(profile), name="reload")
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_say_if_failed)  # nobody else hears of it
            raise

    async def _reload(self, profile: MemoryProfile | str | None) -> str:
        async with self._exchanging:
            if isinstance(profile, str):
                profile = await asyncio.to_thread(self._named, profile)
            profile = profile or self.profile
            before = self.embedding.space
            async with self.embedding.beside(profile) as fresh:  # both are there before one of them serves
                sentence = await self.reranker.reload(profile)
                space = await self.embedding.put_in_service(fresh, profile, self.store.use_space)
            self.profile = self.retrieval.profile = profile
            self._pipeline.use(profile)
        self.queue.take_up_work()
        if space != before:
            sentence += f" The embedder is {space.model} now; messages are embedded again in the background."
        return sentence

    @property
    def recall_ms(self) -> deque[float]:
        """Milliseconds of the last recalls."""
        return self._pipeline.recall_ms

    def _changed(self, guild_ids: Iterable[int]) -> None:
        self._pipeline.cache.invalidate(guild_ids)
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for told in self._watchers:
            told()

    def get_statistics(self) -> dict[str, float | int]:
        """Figures of the query cache, by name."""
        return self._pipeline.cache.get_statistics()

    async def stats(self, guild_id: int | None = None) -> StoreStats:
        """Sizes of the store, of one guild or of all."""
        return await self.store.stats(guild_id)


def _say_if_failed(reload: asyncio.Task[str]) -> None:
    if not reload.cancelled() and (error := reload.exception()) is not None:
        log.warning("The models could not be exchanged: %s", error)
