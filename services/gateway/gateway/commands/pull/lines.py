"""What one line of a pull says, and which of its errors another attempt cannot mend."""

import json
import re
from typing import Any

from ...errors import GatewayError, UpstreamFailed, UpstreamRefused

# Statuses of the 400s that pass: timed out, too early, too many requests.
PASSING = {408, 425, 429}

# What Ollama says, with status 200, when the registry does not have the model, or not for this Ollama: 412 is
# for one that is too old. "realm host" is Hugging Face's way to say that there is no such model to be seen.
# After every other text (no network, no space, the registry's 500s) the next attempt may succeed.
HOPELESS = re.compile(
    r"pull model manifest: (file does not exist|unauthorized|realm host|(?P<status>4\d\d):)"
    r"|^invalid model name|^model .* not found"
)


def parsed(line: bytes) -> dict[str, Any]:
    """Raises UpstreamRefused for an error that stays, another GatewayError for one that may pass."""
    try:
        content = json.loads(line)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UpstreamFailed("upstream sent something that is not a JSON object")
    if "error" not in content:
        return content
    message = str(content["error"]).strip()
    hopeless = HOPELESS.search(message)
    if hopeless and int(hopeless["status"] or 0) not in PASSING:
        raise UpstreamRefused(message)
    raise UpstreamFailed(message)


def stays(error: GatewayError) -> bool:
    """Whether another attempt would end with the same error."""
    return isinstance(error, UpstreamRefused) and error.status not in PASSING
