"""How much faster is packed scoring than the official example, side by side in one run?

    python -m tests.benchmarks.bench_reranker [--n 20 50 100] [--dtype bfloat16] [--threads 2] [--device cpu] [--json]

The model has the exact shape of Qwen3-Reranker-0.6B and random weights: time does not depend on their values. The
documents are as long as chat messages (about 20 tokens on average, log-normal), the prompt as long as the real one.

CPU-seconds are what a shared machine can be compared by; wall time is what a user waits. The bound is what the tokens
that differ would cost in matrix products alone, at the rate that one large product reaches in the same run.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.qwen3 import Qwen3Reranker
from cogs.memory.rerankers.qwen3_prompt import CHAT_TEMPLATE, PREFIX, SUFFIX, PromptTokenizer
from cogs.memory.rerankers.source import Source, load_tokenizer
from tests.tiny_models import chat_lines, make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

QUERY = "who said that we should fix the build before the release on friday"
INSTRUCTION = "Given a question about a chat, find the messages that answer it or help to answer it"
MATRIX_PARAMETERS = 1024 * (2048 + 2 * 1024) + 2048 * 1024 + 3 * 1024 * 3072
"""Of one layer: queries, keys and values, output, gate, up and down."""

Scorer: TypeAlias = "Callable[[str, Sequence[str]], list[float]]"
"""(query, documents) → log-odds."""


@dataclass(slots=True)
class Row:
    """One way of scoring the same pairs."""

    name: str
    n: int
    cpu_s: float
    wall_s: float
    mean_distance: float = 0.0
    max_distance: float = 0.0
    """Of the log-odds from the first row's, or from those in float32."""


@dataclass(slots=True)
class Report:
    """Everything one run measured."""

    device: str
    dtype: str
    threads: int
    gflops: float
    """Of one large matrix product, per CPU-second (CPU) or second (GPU)."""
    rows: list[Row]
    bound_s: dict[int, float]
    """By n: seconds that the unique tokens' matrix products take at that rate."""
    notes: list[str]
    distance_from: str


def main() -> None:
    """Run the benchmark and print its table."""
    arguments = _arguments()
    import torch

    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    with tempfile.TemporaryDirectory() as folder:
        report = _run(_make_model(Path(folder), arguments.layers), arguments)
    if arguments.json:
        print(json.dumps(asdict(report), indent=1))
    else:
        _print(report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[50], help="documents per query")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "mps"])
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32", "float16"])
    parser.add_argument("--threads", type=int, default=0, help="0 = torch's default")
    parser.add_argument("--repeats", type=int, default=0, help="the best of so many counts; 0 = 1 on CPU, 5 on GPU")
    parser.add_argument("--budget", type=int, default=0, help="tokens in one packed pass; 0 = 512 on CPU, 8192 on GPU")
    parser.add_argument("--layers", type=int, default=28, help="fewer for a quick look; the shape is then not 0.6B's")
    parser.add_argument("--only", nargs="+", default=[], help="rows whose names contain one of these")
    parser.add_argument("--exact", action="store_true", help="compare scores with float32 and not with the first row")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _make_model(folder: Path, layers: int) -> Path:
    """Save random weights in Qwen3-Reranker-0.6B's shape and a tokenizer that takes about a token per word."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    make_tokenizer(folder, vocab_size=2000, corpus=[PREFIX, SUFFIX, QUERY, INSTRUCTION] * 50)
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
        max_position_embeddings=40_960,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
    )
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = Qwen3ForCausalLM(config)  # its own initialisation, normal with deviation 0.02
    finally:
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    return folder


def _run(folder: Path, arguments: argparse.Namespace) -> Report:
    import torch

    device = arguments.device
    report = Report(
        device=torch.cuda.get_device_name() if device == "cuda" else device,
        dtype=arguments.dtype,
        threads=torch.get_num_threads(),
        gflops=_matmul_gflops(device, arguments.dtype),
        rows=[],
        bound_s={},
        notes=[],
        distance_from="float32" if arguments.exact else "the first row",
    )
    documents = {n: chat_lines(n, seed=n, mean_words=20.0) for n in arguments.n}
    reference = _exact_scores(folder, documents) if arguments.exact else {}
    for scorers in (_transformers_scorers, _sentence_transformers_scorers, _packed_scorers):
        for name, score in scorers(folder, arguments, documents, report):
            if arguments.only and not any(part in name for part in arguments.only):
                continue
            score("a question to warm up with", documents[arguments.n[0]][:8])
            for n, texts in documents.items():
                row, scores = _measure(name, score, texts, arguments)
                distances = [abs(a - b) for a, b in zip(scores, reference.setdefault(n, scores), strict=True)]
                row.mean_distance, row.max_distance = sum(distances) / n, max(distances)
                report.rows.append(row)
        gc.collect()
    return report


def _exact_scores(folder: Path, documents: dict[int, list[str]]) -> dict[int, list[float]]:
    """Return the log-odds in float32, on the CPU."""
    reranker = Qwen3Reranker.load(str(folder), dtype="float32")
    scores = {n: reranker.score([Pair(QUERY, text, INSTRUCTION) for text in texts]) for n, texts in documents.items()}
    reranker.close()
    return {n: values.tolist() for n, values in scores.items()}


def _measure(name: str, score: Scorer, texts: Sequence[str], arguments: argparse.Namespace) -> tuple[Row, list[float]]:
    """Score all texts, the best of several repeats; each asks anew, so that nothing of a question is remembered."""
    row = Row(name, len(texts), float("inf"), float("inf"))
    scores: list[float] = []
    for repeat in range(arguments.repeats or (1 if arguments.device == "cpu" else 5)):
        query = QUERY if repeat == 0 else f"{QUERY} {repeat}"
        wall, cpu = time.perf_counter(), time.process_time()
        found = score(query, texts)  # a list of floats: a GPU is waited for
        scores = scores or found
        row.wall_s = min(row.wall_s, time.perf_counter() - wall)
        row.cpu_s = min(row.cpu_s, time.process_time() - cpu)
    return row, scores


def _matmul_gflops(device: str, dtype: str) -> float:
    import torch

    rows, columns, repeats = (512, 4096, 8) if device == "cpu" else (8192, 8192, 20)
    a = torch.rand(rows, columns, device=device).to(getattr(torch, dtype))
    b = torch.rand(columns, columns, device=device).to(getattr(torch, dtype))
    best = float("inf")
    for _ in range(3):
        a @ b
        clock = time.process_time if device == "cpu" else time.perf_counter
        _synchronize(device)
        start = clock()
        for _ in range(repeats):
            a @ b
        _synchronize(device)
        best = min(best, (clock() - start) / repeats)
    return 2 * rows * columns * columns / best / 1e9


def _synchronize(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


# --- the ways of scoring


def _transformers_scorers(
    folder: Path, arguments: argparse.Namespace, _: dict[int, list[str]], __: Report
) -> Iterator[tuple[str, Scorer]]:
    """The official example, and the same with the last position's logits only."""
    import torch
    from transformers import AutoTokenizer, Qwen3ForCausalLM

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model: Any = Qwen3ForCausalLM.from_pretrained(folder, dtype=getattr(torch, arguments.dtype))
    model.eval().to(arguments.device)
    yes, no = tokenizer.convert_tokens_to_ids("yes"), tokenizer.convert_tokens_to_ids("no")
    prefix = tokenizer.encode(PREFIX, add_special_tokens=False)
    suffix = tokenizer.encode(SUFFIX, add_special_tokens=False)

    def batch_scores(query: str, texts: Sequence[str], keep: int) -> list[float]:
        bodies = [f"<Instruct>: {INSTRUCTION}\n<Query>: {query}\n<Document>: {text}" for text in texts]
        rows = [prefix + ids + suffix for ids in tokenizer(bodies, add_special_tokens=False)["input_ids"]]
        batch = tokenizer.pad({"input_ids": rows}, padding=True, return_tensors="pt").to(arguments.device)
        with torch.no_grad():
            last = model(**batch, logits_to_keep=keep).logits[:, -1, :].float()
        scores: list[float] = (last[:, yes] - last[:, no]).tolist()
        return scores

    def official(batch: int) -> Scorer:
        def score(query: str, texts: Sequence[str]) -> list[float]:
            starts = range(0, len(texts), batch)
            return [value for start in starts for value in batch_scores(query, texts[start : start + batch], 0)]

        return score

    def last_position(query: str, texts: Sequence[str]) -> list[float]:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        values = [
            value
            for start in range(0, len(order), 8)
            for value in batch_scores(query, [texts[i] for i in order[start : start + 8]], 1)
        ]
        scores = [0.0] * len(texts)
        for place, value in zip(order, values, strict=True):
            scores[place] = value
        return scores

    yield "official example, batch 8", official(8)
    yield "official example, batch 32", official(32)
    yield "last position, length-sorted, batch 8", last_position


def _sentence_transformers_scorers(
    folder: Path, arguments: argparse.Namespace, _: dict[int, list[str]], report: Report
) -> Iterator[tuple[str, Scorer]]:
    import torch

    try:
        from sentence_transformers import CrossEncoder
    except ImportError:
        report.notes.append("sentence-transformers is not installed: its rows are left out")
        return
    model = CrossEncoder(
        str(folder),
        device=arguments.device,
        model_kwargs={"dtype": getattr(torch, arguments.dtype)},
        processor_kwargs={"chat_template": CHAT_TEMPLATE},
        activation_fn=torch.nn.Identity(),
    )

    def score(query: str, texts: Sequence[str], batch: int) -> list[float]:
        pairs = [(query, text) for text in texts]
        scores: list[float] = model.predict(pairs, prompt=INSTRUCTION, batch_size=batch).tolist()
        return scores

    yield "sentence-transformers, batch 8", lambda query, texts: score(query, texts, 8)
    yield "sentence-transformers, batch 32", lambda query, texts: score(query, texts, 32)


def _packed_scorers(
    folder: Path, arguments: argparse.Namespace, documents: dict[int, list[str]], report: Report
) -> Iterator[tuple[str, Scorer]]:
    budget = arguments.budget or (512 if arguments.device == "cpu" else 8192)
    started = time.perf_counter()
    reranker = Qwen3Reranker.load(
        str(folder), device=arguments.device, dtype=arguments.dtype, token_budget=budget, max_length=8192
    )
    report.notes.append(f"loaded and checked in {time.perf_counter() - started:.1f} s, path {reranker.path}")
    tokenizer = PromptTokenizer(load_tokenizer(Source(str(folder))), 8192)
    for n, texts in documents.items():
        prompts = tokenizer.prompts([Pair(QUERY, text, INSTRUCTION) for text in texts])
        stem = len(prompts[0].head) + len(prompts[0].query)
        unique = stem + sum(len(prompt.document) for prompt in prompts)
        report.notes.append(f"n = {n}: {unique} tokens, {stem} of them shared by all")
        report.bound_s[n] = 2 * MATRIX_PARAMETERS * arguments.layers * unique / report.gflops / 1e9

    def score(query: str, texts: Sequence[str]) -> list[float]:
        scores: list[float] = reranker.score([Pair(query, text, INSTRUCTION) for text in texts]).tolist()
        return scores

    yield f"packed, {budget} tokens a pass", score
    reranker.close()


def _print(report: Report) -> None:
    unit = "CPU-s" if report.device == "cpu" else "s"
    rate = f"one large product: {report.gflops:.0f} GFLOP/{unit}"
    print(f"{report.device}, {report.dtype}, {report.threads} threads; {rate}")
    for note in report.notes:
        print(note)
    print(f"|Δ|: distance of the log-odds from {report.distance_from}")
    for n, bound in report.bound_s.items():
        rows = [row for row in report.rows if row.n == n]
        packed = rows[-1]
        print(f"\n{f'n = {n}':<42}{'CPU-s':>8}{'wall s':>9}{'× packed':>10}{'mean |Δ|':>10}{'max |Δ|':>10}")
        for row in rows:
            ratio = row.cpu_s / packed.cpu_s if report.device == "cpu" else row.wall_s / packed.wall_s
            distances = f"{row.mean_distance:>10.1e}{row.max_distance:>10.1e}"
            print(f"{row.name:<42}{row.cpu_s:>8.2f}{row.wall_s:>9.3f}{ratio:>10.1f}{distances}")
        spent = packed.cpu_s if report.device == "cpu" else packed.wall_s
        print(f"{'bound: matrix products of unique tokens':<42}{bound:>8.3f}{'':>9}{bound / spent:>10.2f}")


if __name__ == "__main__":
    main()
