"""Runs inside .venvs/llama: writes models of a megabyte that llama.cpp loads, into the folder it is given.

Three are parrots: attention and feed-forward layers are zero, so that what comes next depends on the last token alone,
and the token table and the output table say what that is. Whatever they are asked they answer SPEECH, a call of a
tool, or numbers without end. The fourth turns text into vectors: the mean of its tokens' random ones.
"""

import re
import sys
from pathlib import Path

import gguf
import numpy as np
from llama_words import SPEECH

WIDTH = 256
CONTEXT = 65_536
TOOL_CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
TURN = "<|answer|>"
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}" + TURN
TOOL_TEMPLATE = """{% if tools %}# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}Answer with <tool_call>
{"name": <name>, "arguments": <arguments>}
</tool_call>
{% endif %}{% for message in messages %}{% if message.role == 'tool' %}<tool_response>
{{ message.content }}
</tool_response>
{% else %}{{ message.content or '' }}{% for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}
{% endif %}{% endfor %}{% if add_generation_prompt %}<|answer|>{% endif %}"""

UNKNOWN, START, END, ANSWER = range(4)


def vocabulary(pieces: list[str]) -> tuple[list[str], list[int]]:
    """Control tokens, all bytes, the printable characters, and then the pieces."""
    kinds = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>", TURN]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, kinds.CONTROL]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    types += [kinds.BYTE] * 256
    characters = [chr(code).replace(" ", "\u2581") for code in range(32, 127)]
    tokens += characters + [piece.replace(" ", "\u2581") for piece in pieces]
    types += [kinds.NORMAL] * (len(characters) + len(pieces))
    assert len(set(tokens)) == len(tokens), "llama.cpp aborts when a token is there twice"
    return tokens, types


def write(path: Path, pieces: list[str], template: str, table: np.ndarray, output: np.ndarray) -> None:
    """Write a model of one layer that adds nothing to what the token table says."""
    tokens, types = vocabulary(pieces)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(4)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(WIDTH // 4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(START)
    writer.add_eos_token_id(END)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", table)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(WIDTH, np.float32))
    shapes = {
        "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH // 4, WIDTH), "attn_v": (WIDTH // 4, WIDTH),
        "attn_output": (WIDTH, WIDTH), "ffn_gate": (32, WIDTH), "ffn_up": (32, WIDTH), "ffn_down": (WIDTH, 32),
    }  # fmt: skip
    for name, shape in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_parrot(path: Path, pieces: list[str], template: str = TEMPLATE, *, endless: bool = False) -> None:
    """Write a model that says the pieces, in this order, whatever it is asked and however it is sampled."""
    tokens, _ = vocabulary(pieces)
    first = len(tokens) - len(pieces)
    said = range(first, len(tokens))
    table = np.zeros((len(tokens), WIDTH), np.float32)
    output = np.zeros((len(tokens), WIDTH), np.float32)
    follows = [*said, first if endless else END]
    for column, (token, following) in enumerate(zip((ANSWER, *said), follows, strict=True)):
        table[token, column] = 1
        output[following, column] = 10
    write(path, pieces, template, table, output)


def main() -> None:
    folder = Path(sys.argv[1])
    write_parrot(folder / "parrot.gguf", re.findall(r" ?\S+", SPEECH))
    write_parrot(folder / "caller.gguf", re.findall(r"<tool_call>\n|</tool_call>|.{1,8}\n?", TOOL_CALL), TOOL_TEMPLATE)
    write_parrot(folder / "counter.gguf", [f" {number}" for number in range(10, 200)], endless=True)
    random = np.random.default_rng(1).standard_normal((len(vocabulary([])[0]), WIDTH)).astype(np.float32)
    write(folder / "vectors.gguf", [], TEMPLATE, random, random)


if __name__ == "__main__":
    main()
