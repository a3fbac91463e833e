"""A tiny random Qwen3 with a chat template, made on the spot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.tiny_models import make_qwen3

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{ '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif -%}"
    "{%- endif -%}"
)
"""Turns between control tokens, and an empty thought where there is to be none, as Qwen3 has it."""


def make_chat_model(folder: Path, *, template: str | None = TEMPLATE, **shape: Any) -> Path:
    """Save a random chat model; it says nonsense, but through the whole way that a real one takes."""
    make_qwen3(folder, **shape)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | ({"chat_template": template} if template else {})), encoding="utf-8")
    return folder
