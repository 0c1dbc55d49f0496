"""transformers' from_pretrained against our server and through a mirror: config and weights of a tiny model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess

from tests.peers.clients import TRANSFORMERS, Client
from tests.peers.mirrored import Site
from tests.peers.test_revisions import filled

MAKE = """
import json, sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(7)
config = LlamaConfig(vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=3,
                     num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
model = LlamaForCausalLM(config).to(torch.bfloat16)
model.save_pretrained(sys.argv[1], max_shard_size="400KB")
print(json.dumps("made"))
"""
# One thread: sums of floats by several depend on how many there are and who is first.
LOAD = """
import json, sys, torch
from transformers import AutoConfig, AutoModelForCausalLM
torch.set_num_threads(1)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
assert AutoConfig.from_pretrained(sys.argv[1]).vocab_size == 512
weights = {name: tensor.double().sum().item() for name, tensor in model.state_dict().items()}
print(json.dumps([weights, model(torch.arange(16)[None]).logits.float().sum(-1).tolist()]))
"""
# A machine that compiles and tests beside this one answers late, and that is not what is tested.
PATIENT = {"HF_HUB_ETAG_TIMEOUT": "60", "HF_HUB_DOWNLOAD_TIMEOUT": "60"}
PUSH = """
import json, sys
from transformers import AutoModelForCausalLM
AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="bfloat16").push_to_hub(sys.argv[2])
print(json.dumps("pushed"))
"""


@pytest.fixture(scope="module")
def tiny(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A tiny model in several shards, and what it computes when it is loaded from its folder."""
    root = tmp_path_factory.mktemp("tiny")
    maker, model = Client(TRANSFORMERS, server, root / "maker"), root / "model"
    assert maker.python(MAKE, str(model)) == "made"
    assert len(list(model.glob("*.safetensors"))) > 1
    return model, maker.python(LOAD, str(model))


@pytest.mark.torch
@pytest.mark.timeout(300)
def test_from_pretrained_and_push_to_hub(
    make_client: Callable[..., Client], write_token: str, repo: str, tiny: tuple[Path, Any]
) -> None:
    model, expected = tiny
    writer = make_client(write_token, TRANSFORMERS)
    filled(writer, repo, model)
    assert make_client(None, TRANSFORMERS).python(LOAD, repo) == expected
    assert writer.python(PUSH, str(model), f"{repo}-pushed") == "pushed"
    assert make_client(None, TRANSFORMERS).python(LOAD, f"{repo}-pushed") == expected


@pytest.mark.torch
@pytest.mark.timeout(300)
def test_from_pretrained_through_a_mirror(
    site: Site, make_client: Callable[..., Client], write_token: str, repo: str, tiny: tuple[Path, Any]
) -> None:
    model, expected = tiny
    filled(make_client(write_token, TRANSFORMERS), repo, model)
    assert site.user(pair=TRANSFORMERS, **PATIENT).python(LOAD, repo) == expected
    site.upstream.forget()
    assert site.user(pair=TRANSFORMERS, **PATIENT).python(LOAD, repo) == expected
    assert site.upstream.data_bytes == 0
