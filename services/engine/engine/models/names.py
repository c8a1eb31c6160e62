"""Model names as Ollama reads them: `[host/][namespace/]model[:tag]`, case-insensitive."""

import re
from dataclasses import dataclass

HOST, NAMESPACE, TAG = "registry.ollama.ai", "library", "latest"

_HOST = re.compile(r"\w[\w.:-]{0,349}", re.ASCII)
_NAMESPACE = re.compile(r"\w[\w-]{0,79}", re.ASCII)
_PART = re.compile(r"\w[\w.-]{0,79}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Name:
    host: str
    namespace: str
    model: str
    tag: str

    @property
    def key(self) -> str:
        """The same for all spellings of a name."""
        return self.full.lower()

    @property
    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def short(self) -> str:
        """The shortest spelling with a tag, which is how Ollama lists models."""
        host = f"{self.host}/" if self.host != HOST else ""
        namespace = f"{self.namespace}/" if host or self.namespace.lower() != NAMESPACE else ""
        return f"{host}{namespace}{self.model}:{self.tag}"


def is_cloud_name(text: str) -> bool:
    """Whether the model runs in Ollama's cloud: `name:cloud`, `name:tag-cloud`."""
    _, colon, tag = text.rpartition(":")
    return bool(colon) and "/" not in tag and (tag.lower() == "cloud" or tag.lower().endswith("-cloud"))


def parse_name(text: str) -> Name | None:
    """Parses a name; None if the text can't be one."""
    path, colon, tag = text.removesuffix(":local").rpartition(":")
    if not colon or "/" in tag:
        path, tag = text.removesuffix(":local"), TAG
    *rest, model = path.rsplit("/", 2)
    host, namespace = [HOST, NAMESPACE][: 2 - len(rest)] + rest
    name = Name(host.rpartition("://")[2], namespace, model, tag)
    parts = (_HOST, name.host), (_NAMESPACE, name.namespace), (_PART, name.model), (_PART, name.tag)
    return name if all(pattern.fullmatch(part) for pattern, part in parts) else None


_QUANTISATION = re.compile(r"(.+?)[.-]((?:ud-)?(?:i?q\d\w*|tq\d\w*|mxfp4\w*|nvfp4\w*|bf16|f16|f32|fp16))")
_SHARD = re.compile(r"(.+)-(\d{5})-of-\d{5}")


def name_of_file(stem: str) -> str | None:
    """The name under which a GGUF file is served; None if it has none.

    The name is lower case. A quantisation at the end (`.Q8_0`, `-q4_k_m`) becomes the tag, else the tag is
    `latest`. Characters that a name can't contain become hyphens: `Foo-Bar.Q8_0.gguf` is `foo-bar:q8_0`.
    Of a model split into several files, only the first one has a name.
    """
    stem = stem.lower()
    if shard := _SHARD.fullmatch(stem):
        if int(shard[2]) != 1:
            return None
        stem = shard[1]
    match = _QUANTISATION.fullmatch(stem)
    model, tag = match.groups() if match else (stem, TAG)
    name = parse_name(f"{re.sub(r'[^a-z0-9._-]+', '-', model).strip('-.')}:{tag}")
    return name.short if name else None
