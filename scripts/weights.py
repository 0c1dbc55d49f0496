"""Files that look like model weights: safetensors with bf16 tensors of Gaussian values.

The safetensors layout is written by hand (8 bytes little-endian header length, a JSON header, the
tensors), so that nothing beyond numpy is needed. The same seed gives the same bytes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

ROWS, COLUMNS = 1024, 4096
TENSOR_BYTES = ROWS * COLUMNS * 2


def bf16(values: np.ndarray) -> np.ndarray:
    """The upper 16 bits of each float32: bfloat16 by truncation, as uint16."""
    return (values.astype(np.float32, copy=False).view(np.uint32) >> 16).astype(np.uint16)


def write_weights(path: Path, size_bytes: int, seed: int = 1) -> int:
    """Write a safetensors file of at least `size_bytes`; returns its size."""
    count = -(-size_bytes // TENSOR_BYTES)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for layer in range(count):
        at = layer * TENSOR_BYTES
        header[f"model.layers.{layer}.mlp.up_proj.weight"] = {
            "dtype": "BF16",
            "shape": [ROWS, COLUMNS],
            "data_offsets": [at, at + TENSOR_BYTES],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _ in range(count):
            file.write(bf16(random.standard_normal(ROWS * COLUMNS, dtype=np.float32) * np.float32(0.02)).data)
    return path.stat().st_size


def change(path: Path, fraction: float, runs: int = 8, seed: int = 2) -> int:
    """Overwrite `fraction` of the values in place, in `runs` contiguous runs as fine-tuning a few tensors would.

    Returns the number of bytes overwritten.
    """
    size = path.stat().st_size
    run_bytes = int(size * fraction / runs) // 2 * 2
    random = np.random.default_rng(seed)
    with path.open("r+b") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        first = 8 + header_bytes
        stride = (size - first) // runs
        for run in range(runs):
            offset = int(random.integers(0, stride - run_bytes)) // 2 * 2
            file.seek(first + run * stride + offset)
            file.write(bf16(random.standard_normal(run_bytes // 2, dtype=np.float32) * np.float32(0.02)).data)
    return run_bytes * runs
