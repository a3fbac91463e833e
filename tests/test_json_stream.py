"""What is read piece by piece is what `json` reads whole, wherever the pieces end."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory import json_stream

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def read(content: bytes) -> dict[str, Any]:
    parts = json_stream.members(io.BytesIO(content), "rows")
    return {key: list(value) if isinstance(value, Iterator) else value for key, value in parts}


@settings(derandomize=True, max_examples=100)
@given(
    data=st.dictionaries(st.sampled_from(["rows", "a", "ü", ""]), VALUES),
    piece=st.integers(4, 12),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    indent=st.sampled_from([None, 2]),
)
def test_it_reads_what_json_reads_in_pieces_of_any_size(
    data: dict[str, Any], piece: int, encoding: str, indent: int | None
) -> None:
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "PIECE", piece)
        assert read(text.encode(encoding)) == data


@pytest.mark.parametrize("content", ["[1, {}]", "5", '"text"', "null"])
def test_another_json_value_has_no_members(content: str) -> None:
    assert read(content.encode()) == {}


@pytest.mark.parametrize(
    "content", ["", "{", '{"a"', '{"a" 1}', '{"a": 1', '{"a": 1,}', '{"rows": [1', '{"rows": [1,]}', "{} x", "{1: 2}"]
)
def test_what_is_no_json_or_ends_too_early_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read(content.encode())


@settings(derandomize=True, max_examples=50)
@given(data=st.dictionaries(st.sampled_from(["rows", "a", "ü"]), VALUES, min_size=1), piece=st.integers(4, 12))
def test_what_is_cut_off_anywhere_ends_too_early(data: dict[str, Any], piece: int) -> None:
    content = json.dumps(data, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "PIECE", piece)
        for cut in range(1, len(content)):
            with pytest.raises(json_stream.EndsTooEarly):
                read(content[:cut])


@pytest.mark.parametrize("content", ['{"a": [1 2]}', '{"a" 1}', '{"a": "\t"}', "{1: 2}", "{} x", '{"a": tru}'])
def test_other_faults_are_no_early_end(content: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as fault:
        read(content.encode())
    assert not isinstance(fault.value, json_stream.EndsTooEarly)


def test_elements_that_nobody_took_are_skipped() -> None:
    keys = [key for key, _ in json_stream.members(io.BytesIO(b'{"rows": [1, [2], 3], "b": 1}'), "rows")]
    assert keys == ["rows", "b"]


def test_elements_come_before_the_rest_of_the_file_is_read() -> None:
    content = b'{"rows": [' + b", ".join([b'"' + b"x" * 1000 + b'"'] * 5000) + b"]}"
    file = io.BytesIO(content)
    _, rows = next(json_stream.members(file, "rows"))
    assert next(rows) == "x" * 1000
    assert file.tell() <= json_stream.PIECE < len(content)
