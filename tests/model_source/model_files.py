"""Files of models, whole and unwanted, and the places that they are put in."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "Qwen/Qwen3-Reranker-0.6B"
ALLOWED = frozenset({NAME, "cross-encoder/ms-marco-MiniLM-L6-v2"})


def weights(count: int = 1000) -> bytes:
    """A safetensors file of so many bytes of one tensor, all different from their neighbours."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(i * 7 % 251 for i in range(count))


def model_files(count: int = 1000) -> dict[str, bytes]:
    return {
        "config.json": b'{"model_type": "qwen3"}',
        "tokenizer.json": b"{}",
        "1_Pooling/config.json": b"{}",
        "model.safetensors": weights(count),
    }


UNWANTED = {
    "README.md": b"#",
    "pytorch_model.bin": b"pickle",
    "modeling_custom.py": b"import os",
    "onnx/model.onnx": b"o",
    "consolidated.safetensors": b"twice",
    "model.fp16.safetensors": b"twice",
    "onnx/config.json": b"{}",
    ".gitattributes": b"g",
    "../outside.json": b"{}",
    "1_Pooling/../../outside.json": b"{}",
    "/etc/outside.json": b"{}",
    "requirements.txt": b"evil",
}


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def put_in_cache(cache: Path, name: str, commit: str, files: dict[str, bytes], *refs: str) -> Path:
    repo = cache / f"models--{name.replace('/', '--')}"
    for ref in refs:
        put(repo / "refs", {ref: commit.encode()})
    return put(repo / "snapshots" / commit, files)
