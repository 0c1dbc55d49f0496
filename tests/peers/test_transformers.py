"""transformers' from_pretrained against our server: config, tokenizer files and weights of a tiny model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.clients import TRANSFORMERS, Client

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
LOAD = """
import json, sys, torch
from transformers import AutoConfig, AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
assert AutoConfig.from_pretrained(sys.argv[1]).vocab_size == 512
weights = {name: tensor.double().sum().item() for name, tensor in model.state_dict().items()}
print(json.dumps([weights, model(torch.arange(16)[None]).logits.float().sum(-1).tolist()]))
"""
PUSH = """
import json, sys
from transformers import AutoModelForCausalLM
AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="bfloat16").push_to_hub(sys.argv[2])
print(json.dumps("pushed"))
"""


@pytest.mark.torch
@pytest.mark.timeout(300)
def test_from_pretrained_and_push_to_hub(
    make_client: Callable[..., Client], write_token: str, repo: str, tmp_path: Path
) -> None:
    writer = make_client(write_token, TRANSFORMERS)
    model = tmp_path / "tiny"
    assert writer.python(MAKE, str(model)) == "made"
    expected = writer.python(LOAD, str(model))  # what the local folder gives
    assert len(list(model.glob("*.safetensors"))) > 1, "the weights should be in several shards"
    writer.create_repo(repo_id=repo)
    writer.upload_folder(repo_id=repo, folder_path=str(model))
    assert make_client(None, TRANSFORMERS).python(LOAD, repo) == expected
    assert writer.python(PUSH, str(model), f"{repo}-pushed") == "pushed"
    assert make_client(None, TRANSFORMERS).python(LOAD, f"{repo}-pushed") == expected
