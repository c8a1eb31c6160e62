"""Parses the lines of a pull, and tells permanent errors from temporary ones."""

import json
import re
from typing import Any

from ...errors import GatewayError, UpstreamFailed, UpstreamRefused

# Temporary 4xx statuses: timeout, too early, too many requests.
TEMPORARY = {408, 425, 429}

# Ollama's errors, sent with status 200, for a model that the registry does not have, or not for this Ollama:
# 412 means that Ollama is too old. "realm host" is what Hugging Face causes for an unknown or private model.
# After any other error (no network, disk full, the registry's 5xx) the next attempt may succeed.
PERMANENT = re.compile(
    r"pull model manifest: (file does not exist|unauthorized|realm host|(?P<status>4\d\d):)"
    r"|^invalid model name|^model .* not found"
)


def parsed(line: bytes) -> dict[str, Any]:
    """Raises UpstreamRefused for a permanent error, another GatewayError for a temporary one."""
    try:
        content = json.loads(line)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UpstreamFailed("upstream sent a line that is not a JSON object")
    if "error" not in content:
        return content
    message = str(content["error"]).strip()
    permanent = PERMANENT.search(message)
    if permanent and int(permanent["status"] or 0) not in TEMPORARY:
        raise UpstreamRefused(message)
    raise UpstreamFailed(message)


def is_permanent(error: GatewayError) -> bool:
    """Whether another attempt would end with the same error."""
    return isinstance(error, UpstreamRefused) and error.status not in TEMPORARY
