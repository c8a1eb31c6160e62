"""Every setting of the engine, read once from `ENGINE_*` environment variables."""

import os
from typing import Annotated, Literal

from pydantic import BeforeValidator, DirectoryPath, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .durations import keep_alive_seconds
from .errors import BadRequestError

PREFIX = "ENGINE_"


class SettingsError(Exception):
    """A setting is invalid. The message is one line that names the variable and says what is wrong."""


def _keep_alive(value: object) -> object:
    # A bare number means seconds, as in OLLAMA_KEEP_ALIVE.
    try:
        return keep_alive_seconds(float(value) if isinstance(value, str) and _is_number(value) else value)
    except BadRequestError as error:
        raise ValueError(f"{error.message}; expected a duration such as 5m, 1h30m, 0 or -1") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _all_cores_but_one() -> int:
    # llama.cpp's threads spin while they wait for each other. If one of them shares its core with the gateway
    # or a client, all of them wait for it, and generation becomes many times slower.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(
        11435,
        ge=1,
        le=65535,
        description="Port to listen on; one above Ollama's, so both can run on one machine.",
    )
    models_dir: DirectoryPath | None = Field(
        None, description="Folder of GGUF files to serve in addition to the built-in model."
    )
    slots: int = Field(
        4,
        ge=1,
        le=256,
        description="Answers that a model generates at once, batched; further requests queue.",
    )
    num_ctx: int = Field(
        4096, ge=16, description="Context of one slot in tokens, unless a request sets num_ctx."
    )
    threads: int = Field(
        default_factory=_all_cores_but_one,
        ge=1,
        le=512,
        description="llama.cpp's threads; default: all cores but one, which is left to everything else.",
    )
    batch: int = Field(
        16,
        ge=1,
        le=4096,
        description="Prompt tokens evaluated in one step. Meanwhile running answers pause, and a disconnect "
        "goes unnoticed. 16 tokens take a sixth of a second on one slow core and cost about 10 % of prompt "
        "speed there; with a GPU, use 512.",
    )
    keep_alive: Annotated[float, BeforeValidator(_keep_alive)] = Field(
        default=300.0,
        description="How long a model stays loaded after its last request: seconds or a duration (5m); "
        "0 unloads it at once, a negative value never.",
    )
    max_queue: int = Field(
        512, ge=0, description="Requests that may queue for a model or a slot; further ones get 503."
    )
    max_loaded_models: int = Field(
        1, ge=1, description="Models in memory at once; the least recently used one is evicted."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="json for machines, console for people."
    )


def load_settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{variable}={first['input']!s}: {reason}") from error
