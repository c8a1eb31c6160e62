"""Every setting of the gateway, read once from the environment."""

import ipaddress
import re
from functools import cached_property
from typing import Literal, Self

from pydantic import AnyHttpUrl, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .names import MODEL_NAME, MODEL_PATTERN, REGISTRY, REGISTRY_NAME, is_in_cloud
from .origins import Origins


class Settings(BaseSettings):
    """Each field is the environment variable GATEWAY_<FIELD>, or its alias; in seconds and bytes."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", env_ignore_empty=True, frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8001, ge=1, le=65535, description="port to listen on, behind nginx")
    workers: int = Field(
        1, ge=1, description="processes; one carries thousands of streams, scale by replicas"
    )
    ollama_url: AnyHttpUrl = Field(
        AnyHttpUrl("http://127.0.0.1:11434"), description="the Ollama, or embedded engine, to stream from"
    )
    default_model: str = Field("", description="model that /readyz waits for; empty: any model will do")
    models: str = Field(
        "", description="models that `gateway pull` sees to, first one first, separated by commas or blanks"
    )

    gpu_expected: Literal["off", "on"] = Field(
        "off", description="whether models are meant to be on a GPU; what is not is a reason for an alert"
    )

    keys_file: str = Field("", description="file with the keys of those who may call; empty: there are none")
    public_address: str = Field(
        "", description="address at which clients reach the stack; empty: the one to listen on"
    )
    admin_api: Literal["off", "on"] = Field(
        "off", description="whether a gateway without keys lets anybody pull, create and delete models"
    )
    account_api: Literal["off", "on"] = Field(
        "off", description="whether the model server's account may be asked for and signed out"
    )
    open_metrics: Literal["off", "on"] = Field("off", description="whether metrics can be read without a key")
    audit_file: str = Field(
        "", description="file for the lines about who has managed models; empty: standard error"
    )
    cloud_models: Literal["off", "on"] = Field(
        "off", description="whether models may be asked that the model server only passes on to a cloud"
    )
    web_search: Literal["off", "on"] = Field(
        "off", description="whether the model server may search the web for a model that asks for it"
    )
    pull_registries: str = Field(
        REGISTRY, description="registries to pull from, separated by commas or blanks"
    )
    pull_models: str = Field(
        "", description="patterns of the models that may be pulled, as for keys; empty: any"
    )
    pull_insecure: Literal["off", "on"] = Field(
        "off", description="whether pulling and pushing may do without https"
    )
    push_registries: str = Field("", description="registries to push to; empty: nothing is pushed")
    cors_origins: str = Field(
        "",
        description="origins whose pages may call the gateway, or patterns of them, separated by commas; "
        "* for all",
    )

    max_body_bytes: int = Field(10 * 1024 * 1024, gt=0, description="largest request body")
    max_line_bytes: int = Field(64 * 1024 * 1024, gt=0, description="largest single line from upstream")
    request_timeout: float = Field(
        15, gt=0, description="limit for a request's head, and for silence within its body"
    )
    connect_timeout: float = Field(3, gt=0, description="limit for connecting to upstream")
    first_byte_timeout: float = Field(
        600, gt=0, description="limit for upstream's first byte: cold loads are slow"
    )
    idle_timeout: float = Field(120, gt=0, description="limit for silence between upstream's bytes")
    manage_timeout: float = Field(
        3600, gt=0, description="limit for upstream's silence while it pulls, pushes or creates a model"
    )
    send_timeout: float = Field(60, gt=0, description="a client that takes nothing for this long is dropped")
    early_commit: float = Field(
        2, gt=0, description="if upstream hasn't answered by then, commit to 200 and start the heartbeats"
    )
    heartbeat: float = Field(15, gt=0, description="longest silence that a client of a stream sees")
    grace: float = Field(30, gt=2, description="time that running streams get to finish on SIGTERM")

    log_format: Literal["json", "console"] = Field("json", description="console is for people")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")

    otlp_endpoint: AnyHttpUrl | None = Field(
        None,
        # OpenTelemetry's own name, so that it is set as everywhere else and its other OTEL_* go with it.
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="OTLP collector that gets spans, over HTTP; empty: none are made",
    )

    @property
    def is_public(self) -> bool:
        """Whether others than this machine may reach it; also if that cannot be told."""
        address = self.public_address or self.host
        try:
            return not ipaddress.ip_address(address.strip("[]")).is_loopback
        except ValueError:
            return address != "localhost"

    @cached_property
    def origins(self) -> Origins:
        return Origins(self.cors_origins)

    @property
    def model_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_listed(self.models)))

    @property
    def pull_registry_names(self) -> frozenset[str]:
        return frozenset(_listed(self.pull_registries.lower()))

    @property
    def push_registry_names(self) -> frozenset[str]:
        return frozenset(_listed(self.push_registries.lower()))

    @property
    def pull_patterns(self) -> tuple[str, ...]:
        return tuple(_listed(self.pull_models))

    @field_validator("pull_registries", "push_registries")
    @classmethod
    def _check_registries(cls, registries: str) -> str:
        return _each(registries, REGISTRY_NAME, "a registry; write hosts like registry.ollama.ai or hf.co")

    @field_validator("pull_models")
    @classmethod
    def _check_patterns(cls, patterns: str) -> str:
        return _each(patterns, MODEL_PATTERN, "a pattern; write some like llama3*,hf.co/org/*")

    @field_validator("models")
    @classmethod
    def _check_models(cls, models: str) -> str:
        return _each(
            models, MODEL_NAME, "a model's name; write names like qwen2.5:1.5b or hf.co/user/model:tag"
        )

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: str) -> str:
        Origins(origins)
        return origins

    @model_validator(mode="after")
    def _cross_check(self) -> Self:
        if self.early_commit > self.first_byte_timeout:
            raise ValueError("GATEWAY_EARLY_COMMIT must not be above GATEWAY_FIRST_BYTE_TIMEOUT")
        for variable, names in (
            ("GATEWAY_MODELS", self.model_names),
            ("GATEWAY_DEFAULT_MODEL", (self.default_model,)),
        ):
            clouds = ", ".join(filter(is_in_cloud, names))
            if clouds and self.cloud_models == "off":
                raise ValueError(f"{variable}: {clouds} is in a cloud; GATEWAY_CLOUD_MODELS=on allows that")
        return self


def _listed(said: str) -> list[str]:
    return said.replace(",", " ").split()


def _each(said: str, shape: re.Pattern[str], what: str) -> str:
    """Raises ValueError if there is one that is not `what`."""
    for name in _listed(said):
        if not shape.fullmatch(name):
            raise ValueError(f"{name!r} cannot be {what}, separated by commas or blanks")
    return said


class BadSettings(Exception):
    """The environment cannot be used; the message names each variable and what is wrong with it."""


def load_settings() -> Settings:
    """Raises BadSettings."""
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            f"{_variable(problem['loc'][0]) + ': ' if problem['loc'] else ''}{problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise BadSettings("; ".join(problems)) from None


def _variable(named: int | str) -> str:
    """What pydantic calls by the field's name, or by its alias if it has one."""
    return f"GATEWAY_{named.upper()}" if named in Settings.model_fields else str(named)
