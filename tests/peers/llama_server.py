"""Runs inside .venvs/llama: llama.cpp's own HTTP server with one model, on a free port of this machine.

The arguments are the model's file and its name. It says where it listens, and ends when its stdin does.
"""

import os
import sys
from pathlib import Path

import xllamacpp


def main() -> None:
    file, name = sys.argv[1:]
    settings = xllamacpp.CommonParams()
    settings.model.path = file
    settings.model_alias = {name}
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.n_ctx = 65_536
    settings.n_parallel = 1
    settings.cache_ram_mib = 0
    settings.cpuparams.n_threads = 1
    settings.cpuparams_batch.n_threads = 1
    settings.endpoint_metrics = True
    settings.ui = False
    settings.verbosity = 0
    if Path(file).stem == "vectors":
        settings.embedding = True
        settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        settings.n_ctx = settings.n_batch = settings.n_ubatch = 2048
    server = xllamacpp.Server(settings)
    print(f"listening on {server.listening_address}", flush=True)
    sys.stdin.read()
    os._exit(0)  # its threads do not end by themselves


if __name__ == "__main__":
    main()
