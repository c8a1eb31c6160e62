"""All settings of the gateway, read once from the environment."""

import ipaddress
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AnyHttpUrl, Field, NonNegativeInt, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from .aliases import Alias, parse_aliases
from .limits import Limits, parse_windows
from .name_lists import check_models, check_patterns, check_registries, split
from .names import REGISTRY, full_name, is_in_cloud
from .origins import Origins
from .servers import ONLY, Server, parse_servers
from .shared_url import check_shared_url


def _checked_by(check: Callable[[str], object]) -> AfterValidator:
    """Validates a text with a function that raises ValueError."""

    def checked(text: str) -> str:
        check(text)
        return text

    return AfterValidator(checked)


Windows = Annotated[str, _checked_by(parse_windows)]
Registries = Annotated[str, _checked_by(check_registries)]


class Settings(BaseSettings):
    """Each field is set by GATEWAY_<FIELD>, or by its alias. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", env_ignore_empty=True, frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on; or several, separated by commas")
    port: int = Field(8001, ge=1, le=65535, description="port to listen on, behind nginx")
    workers: int = Field(
        1, ge=1, description="worker processes; one carries thousands of streams, so scale by replicas"
    )
    ollama_url: AnyHttpUrl = Field(
        AnyHttpUrl("http://127.0.0.1:11434"),
        description="URL of the model server: an Ollama or the embedded engine",
    )
    ollama_urls: Annotated[str, _checked_by(parse_servers)] = Field(
        "",
        description="several of them, separated by commas, each with an optional name=… and weight=…; empty: "
        "GATEWAY_OLLAMA_URL",
    )
    affinity_slack: int = Field(
        2,
        ge=0,
        description="answers that the model server of a conversation may run more than the least busy one "
        "before the conversation goes elsewhere",
    )
    default_model: str = Field("", description="model that must be present for /readyz; empty: any")
    models: Annotated[str, _checked_by(check_models)] = Field(
        "", description="models for `gateway pull`, in order, separated by commas or spaces"
    )
    aliases: Annotated[str, _checked_by(parse_aliases)] = Field(
        "",
        description="further names of models, like fast=llama3.2:1b|qwen2.5:1.5b, separated by commas; of "
        "several models the first one that is available answers",
    )

    gpu_expected: Literal["off", "on"] = Field(
        "off", description="whether models should run on a GPU; if one does not, an alert fires"
    )

    keys_file: str = Field("", description="file with the API keys; empty: no keys")
    public_address: str = Field(
        "", description="address at which clients reach the stack; empty: GATEWAY_HOST"
    )
    admin_api: Literal["off", "on"] = Field(
        "off", description="without API keys: whether anyone may pull, create and delete models"
    )
    account_api: Literal["off", "on"] = Field(
        "off", description="whether admins may see the model server's account and sign it out"
    )
    open_metrics: Literal["off", "on"] = Field("off", description="whether /metrics needs no API key")
    audit_file: str = Field(
        "", description="audit log file: who has managed which models; empty: standard error"
    )
    cloud_models: Literal["off", "on"] = Field(
        "off", description="whether cloud models, which the model server forwards elsewhere, may be used"
    )
    web_search: Literal["off", "on"] = Field(
        "off", description="whether the model server may search the web and fetch pages"
    )
    pull_registries: Registries = Field(
        REGISTRY, description="registries to pull from, separated by commas or spaces"
    )
    pull_models: Annotated[str, _checked_by(check_patterns)] = Field(
        "", description="patterns of models that may be pulled, as in the key file; empty: any"
    )
    pull_insecure: Literal["off", "on"] = Field(
        "off", description="whether pull and push requests may disable TLS checks (`insecure`)"
    )
    push_registries: Registries = Field("", description="registries to push to; empty: none")
    cors_origins: Annotated[str, _checked_by(Origins)] = Field(
        "",
        description="web origins, or patterns, whose pages may call the gateway, separated by commas; "
        "* for all",
    )

    slots: Literal["auto"] | NonNegativeInt = Field(
        "auto",
        description="answers that a model generates at once, further requests queue; 0: no limit; auto: what "
        "the model server reports, else OLLAMA_NUM_PARALLEL, else 4",
    )
    ollama_num_parallel: int = Field(
        0, ge=0, validation_alias="OLLAMA_NUM_PARALLEL", description="Ollama's own setting, if it is known"
    )
    ollama_max_loaded_models: int = Field(
        0,
        ge=0,
        validation_alias="OLLAMA_MAX_LOADED_MODELS",
        description="Ollama's own setting, if it is known",
    )
    queue: int = Field(100, ge=0, description="requests that may wait for a slot; further ones are refused")
    queue_per_caller: int = Field(
        20, ge=0, description="the same for one API key, or one address without keys"
    )
    queue_timeout: float = Field(300, gt=0, description="longest wait for a slot")
    swap_patience: float = Field(
        10,
        ge=0,
        description="how long requests for a loaded model may overtake one whose model is not",
    )
    runner_options: Literal["keep", "strip", "largest"] = Field(
        "keep",
        description="options for which the model server loads a model anew, like num_ctx: keep them; strip "
        "them; or raise num_ctx to the largest of the last hour",
    )
    keep_alive: Literal["auto", "any", "admin"] = Field(
        "auto",
        description="who may say how long a model stays loaded; auto: without API keys anyone, else admins",
    )
    limit_requests: Windows = Field(
        "",
        description="requests for a model's answer, like 60/m or 10/s,1k/d, of a key without a limit of its "
        "own and, without keys, of an address; empty: no limit",
    )
    limit_tokens: Windows = Field(
        "", description="the same for tokens of prompts and answers, like 20k/m,1M/d"
    )
    limit_concurrent: int | None = Field(None, ge=1, description="the same for requests at the same time")
    key_metrics: Literal["on", "off"] = Field(
        "on", description="whether metrics count the requests and tokens of each key by its name"
    )

    max_body_bytes: int = Field(10 * 1024 * 1024, gt=0, description="largest request body accepted")
    max_output_tokens: int = Field(
        0, ge=0, description="most tokens of an answer; requests for more are lowered; 0: no limit"
    )
    max_answer_seconds: float = Field(
        0, ge=0, description="an answer that takes the model server longer is cut; 0: no limit"
    )
    max_line_bytes: int = Field(
        64 * 1024 * 1024, gt=0, description="largest single line accepted from the model server"
    )
    request_timeout: float = Field(
        15, gt=0, description="time limit for a request's head, and for each pause in its body"
    )
    connect_timeout: float = Field(3, gt=0, description="time limit for connecting to the model server")
    first_byte_timeout: float = Field(
        600, gt=0, description="time limit for the model server's first byte; a long prompt takes minutes"
    )
    idle_timeout: float = Field(
        120, gt=0, description="longest pause allowed between bytes from the model server"
    )
    load_timeout: float = Field(900, gt=0, description="time limit for loading a model into memory")
    manage_timeout: float = Field(
        3600, gt=0, description="the same while it pulls, pushes or creates a model"
    )
    send_timeout: float = Field(60, gt=0, description="a client that reads nothing for this long is dropped")
    early_commit: float = Field(
        2, gt=0, description="without a first byte by then, a stream starts with status 200 and heartbeats"
    )
    heartbeat: float = Field(15, gt=0, description="interval of heartbeats while a stream is silent")
    resume_max: int = Field(
        600, ge=0, description="longest time an answer waits for its reader to come back; 0: none does"
    )
    resume_keep: int = Field(300, ge=0, description="how long an ended answer can be read again")
    resume_bytes: int = Field(4 << 20, ge=0, description="most memory of an answer that is kept")
    resume_total_bytes: int = Field(128 << 20, ge=0, description="the same for all of them")
    grace: float = Field(30, gt=2, description="time that running streams have to finish after SIGTERM")

    shared_url: Annotated[str, _checked_by(check_shared_url)] = Field(
        "", repr=False, description="Valkey or Redis in which gateways share their state; empty: they do not"
    )
    shared_url_file: str = Field("", description="file with that URL; without the file, nothing is shared")
    shared_prefix: str = Field(
        "sluice", pattern="^[!-~]{1,100}$", description="beginning of all keys and channels there"
    )

    log_format: Literal["json", "console"] = Field(
        "json", description="json for log collectors, console for people"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level logged")

    otlp_endpoint: AnyHttpUrl | None = Field(
        None,
        # OpenTelemetry's standard name: the SDK reads its other OTEL_* variables too.
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="OTLP/HTTP collector for trace spans; empty: no tracing",
    )

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach the gateway; True if that is unclear."""
        address = self.public_address or self.host
        try:
            return not ipaddress.ip_address(address.strip("[]")).is_loopback
        except ValueError:
            return address != "localhost"

    @cached_property
    def origins(self) -> Origins:
        return Origins(self.cors_origins)

    @cached_property
    def limits(self) -> Limits:
        """The limits of callers without their own."""
        requests, tokens = parse_windows(self.limit_requests), parse_windows(self.limit_tokens)
        return Limits(requests, tokens, self.limit_concurrent)

    @cached_property
    def servers(self) -> tuple[Server, ...]:
        """The model servers; at least one."""
        return parse_servers(self.ollama_urls) or (Server(str(self.ollama_url), ONLY),)

    @property
    def model_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(split(self.models)))

    @cached_property
    def alias_table(self) -> dict[str, Alias]:
        """The aliases by their full names."""
        return parse_aliases(self.aliases)

    @property
    def pull_registry_names(self) -> frozenset[str]:
        return frozenset(split(self.pull_registries.lower()))

    @property
    def push_registry_names(self) -> frozenset[str]:
        return frozenset(split(self.push_registries.lower()))

    @property
    def pull_patterns(self) -> tuple[str, ...]:
        return tuple(split(self.pull_models))

    @model_validator(mode="after")
    def _cross_check(self) -> Self:
        if self.early_commit > self.first_byte_timeout:
            raise ValueError("GATEWAY_EARLY_COMMIT must not exceed GATEWAY_FIRST_BYTE_TIMEOUT")
        if self.default_model and full_name(self.default_model) in self.alias_table:
            raise ValueError(f"GATEWAY_DEFAULT_MODEL: {self.default_model} is an alias; name a model")
        aliases = self.alias_table.values()
        for variable, names in (
            ("GATEWAY_MODELS", self.model_names),
            ("GATEWAY_DEFAULT_MODEL", (self.default_model,)),
            ("GATEWAY_ALIASES", [name for alias in aliases for name in (alias.name, *alias.targets)]),
        ):
            cloud_models = ", ".join(filter(is_in_cloud, names))
            if cloud_models and self.cloud_models == "off":
                raise ValueError(f"{variable}: cloud models need GATEWAY_CLOUD_MODELS=on: {cloud_models}")
        return self


class BadSettings(Exception):
    """Invalid environment; the message names each variable and what is wrong with it."""


def load_settings() -> Settings:
    """Read the settings from the environment. Raises BadSettings."""
    try:
        return Settings()
    except ValidationError as error:
        problems = map(_worded, error.errors(include_input=False, include_url=False))
        raise BadSettings("; ".join(problems)) from None


def _worded(problem: ErrorDetails) -> str:
    """A problem with the variable that has it, in our words where we have checked it ourselves."""
    variable = f"{_variable(problem['loc'][0])}: " if problem["loc"] else ""
    return variable + problem["msg"].removeprefix("Value error, ")


def _variable(location: int | str) -> str:
    """Environment variable for pydantic's error location: a field's name, or its alias if it has one."""
    return f"GATEWAY_{location.upper()}" if location in Settings.model_fields else str(location)
