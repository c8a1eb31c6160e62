"""The child process: llama.cpp's HTTP server with one model.

In a process of its own, a crash inside llama.cpp does not end the engine, and unloading a model is certain to
free its memory. It prints one line to stdout: its address, or the reason why the model did not load. It ends
when its stdin is closed, and so with the engine, however that ends.
"""

import argparse
import os
import signal
import sys

import xllamacpp


def parameters(arguments: argparse.Namespace) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = arguments.slots
    params.n_ctx = arguments.num_ctx * arguments.slots
    params.n_batch = params.n_ubatch = arguments.batch
    # One context serves both: it computes embeddings only for embedding requests.
    params.embedding = True
    params.pooling_type = arguments.pooling
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    # As Ollama does with a full context: shift it, but stop after ten times its length, which ends answers
    # that the model never ends by itself.
    params.ctx_shift = True
    params.n_predict = 10 * arguments.num_ctx
    # Each connection needs a thread. While all slots are streaming, connections may still be closing, and
    # /slots must answer.
    params.n_threads_http = 2 * arguments.slots + 4
    params.endpoint_slots = True
    # Off: anything that delays the start, and caches beyond the slots' own memory (up to 8 GiB).
    params.warmup = params.fit_params = params.ui = False
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.verbosity = 0
    return params


def ignore_signals() -> None:
    # Ctrl-C and a service manager's SIGTERM reach every process; the engine decides when this one stops.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    for name in ("--num-ctx", "--slots", "--batch", "--threads", "--pooling"):
        parser.add_argument(name, type=int, required=True)
    arguments = parser.parse_args()
    ignore_signals()
    try:
        server = xllamacpp.Server(parameters(arguments))
    except RuntimeError as error:
        print(error)
        sys.exit(1)
    # llama.cpp installs its own handlers while it starts.
    ignore_signals()
    print(server.listening_address, flush=True)
    sys.stdin.buffer.read()
    # A regular exit would wait for llama.cpp's threads, which nothing needs any more.
    os._exit(0)


if __name__ == "__main__":
    main()
