"""HfFileSystem: files opened in place and read in pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.peers.clients import Client
from tests.peers.test_revisions import filled

READ = """
import hashlib, json, sys
from huggingface_hub import HfFileSystem
fs = HfFileSystem()
name = sys.argv[1] + "/model.safetensors"
size = fs.info(name)["size"]
parts = {}
with fs.open(name, "rb", block_size=65536) as file:
    for start, length in ((0, 8), (1, 100), (65_530, 20), (size // 2, 200_000), (size - 5, 5), (size - 5, 100)):
        file.seek(start)
        parts[f"{start}+{length}"] = hashlib.sha256(file.read(length)).hexdigest()
found = sorted(path.rpartition("/")[2] for path in fs.glob(sys.argv[1] + "/**/*.bin"))
print(json.dumps([size, parts, found, fs.read_text(sys.argv[1] + "/config.json"), fs.cat_file(name, 8, 16).hex()]))
"""


def test_ranged_reads(writer: Client, reader: Client, repo: str, folder: Path) -> None:
    filled(writer, repo, folder)
    data = (folder / "model.safetensors").read_bytes()
    size, parts, found, text, piece = reader.python(READ, repo)
    assert size == len(data)
    for name, digest in parts.items():
        start, length = map(int, name.split("+"))
        assert digest == hashlib.sha256(data[start : start + length]).hexdigest(), name
    assert found == ["random.bin", "small.bin"]
    assert text == (folder / "config.json").read_text()
    assert piece == data[8:16].hex()


def test_write_through_the_file_system(writer: Client, repo: str) -> None:
    writer.create_repo(repo_id=repo)
    code = (
        "import json, sys\nfrom huggingface_hub import HfFileSystem\nfs = HfFileSystem()\n"
        "with fs.open(sys.argv[1] + '/notes/a.txt', 'w') as file:\n    file.write('written')\n"
        "print(json.dumps([fs.read_text(sys.argv[1] + '/notes/a.txt'), fs.exists(sys.argv[1] + '/nowhere')]))"
    )
    assert writer.python(code, repo) == ["written", False]


def test_safetensors_header_is_read_by_range(writer: Client, reader: Client, repo: str, folder: Path) -> None:
    filled(writer, repo, folder)
    metadata = reader.get_safetensors_metadata(repo_id=repo)
    assert metadata["parameter_count"] == {"BF16": 4096 * 1024}
