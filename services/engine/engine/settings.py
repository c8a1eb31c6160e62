"""Every setting of the engine, read once from `ENGINE_*` environment variables."""

import os
from typing import Annotated, Literal

from pydantic import BeforeValidator, DirectoryPath, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .durations import keep_alive_seconds
from .errors import BadRequestError

PREFIX = "ENGINE_"


class SettingsError(Exception):
    """One line that names the variable and says what is wrong with it."""


def _keep_alive(value: object) -> object:
    # Ollama takes a bare number in OLLAMA_KEEP_ALIVE for seconds, so we do too.
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
    # llama.cpp's threads spin while they wait for each other: when one of them has to share its core with
    # the gateway or a client, all wait, and an answer gets many times slower instead of a little.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(
        11435, ge=1, le=65535, description="Port to listen on; one above Ollama's, so that both can run."
    )
    models_dir: DirectoryPath | None = Field(
        None, description="Folder whose GGUF files are served beside the packaged model."
    )
    slots: int = Field(
        4, ge=1, le=256, description="Answers that a model generates at once, batched; further requests wait."
    )
    num_ctx: int = Field(
        4096, ge=16, description="Context of one slot in tokens, where a request does not set num_ctx."
    )
    threads: int = Field(
        default_factory=_all_cores_but_one,
        ge=1,
        le=512,
        description="Threads of llama.cpp; default: all cores but one, which is left to everything else.",
    )
    batch: int = Field(
        16,
        ge=1,
        le=4096,
        description="Prompt tokens evaluated in one step. A client that leaves is noticed between steps, and "
        "running answers pause for one. 16 take a sixth of a second on one slow core and cost about 10 % of "
        "prompt speed there; with a GPU, take 512.",
    )
    keep_alive: Annotated[float, BeforeValidator(_keep_alive)] = Field(
        default=300.0,
        description="How long a model stays loaded after its last request: seconds or a duration (5m); "
        "0 unloads at once, negative never.",
    )
    max_queue: int = Field(
        512, ge=0, description="Requests that may wait for a model or a slot; further ones get 503."
    )
    max_loaded_models: int = Field(
        1, ge=1, description="Models in memory at once; the least recently used idle one makes room."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
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
