"""llama.cpp's HTTP server with one model, as a process of its own.

A crash inside llama.cpp then ends this process and not the engine, and a model's memory is given
back for certain. The one line on stdout is the address, or the reason why there is none. The process
lives as long as its stdin is open, so that it goes with the engine however that ends.
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
    # One context does both: it makes vectors only in the steps of an embedding.
    params.embedding = True
    params.pooling_type = arguments.pooling
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    # Ollama's ways with a full context: shift it, but stop after ten times its length, so that a
    # model that never ends its answer does.
    params.ctx_shift = True
    params.n_predict = 10 * arguments.num_ctx
    # One thread serves one connection. All slots may be streaming while others are being dropped
    # and /slots is asked.
    params.n_threads_http = 2 * arguments.slots + 4
    params.endpoint_slots = True
    # Off: what delays the start, and what takes memory beyond the slots' own (up to 8 GiB).
    params.warmup = params.fit_params = params.ui = False
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.verbosity = 0
    return params


def ignore_signals() -> None:
    # Ctrl-C and a service manager's SIGTERM reach all processes; the engine decides when this one ends.
    for terminating in (signal.SIGINT, signal.SIGTERM):
        signal.signal(terminating, signal.SIG_IGN)


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
    # llama.cpp sets handlers of its own while it starts.
    ignore_signals()
    print(server.listening_address, flush=True)
    sys.stdin.buffer.read()
    # An orderly end would wait for llama.cpp's threads, which nobody needs any more.
    os._exit(0)


if __name__ == "__main__":
    main()
