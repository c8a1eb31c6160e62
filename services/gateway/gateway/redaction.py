"""What a text from upstream must not tell a client."""

import re

# Loopback and private network addresses, with their URL paths, and file paths. The text may be long and
# chosen by a client, so every repetition here is bounded or cannot backtrack far.
_PRIVATE = re.compile(
    r"""(?:https?://)?
        (?:\b(?:localhost|model-server)(?=[:/])|\[(?:::1|f[cd][0-9a-f:]{0,40}|fe80[^\]]{0,60})\]
          |\b(?:127|10)(?:\.\d{1,3}){3}|\b192\.168(?:\.\d{1,3}){2}|\b172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})
        (?::\d+)?(?:/[^\s"',;)]*)?
      |(?<![\w./:-])(?:/(?:app|data|dev|etc|home|mnt|models|opt|proc|root|run|srv|tmp|usr|var|Users)/|[A-Z]:\\)
        [^\s"',:;)]*""",
    re.VERBOSE,
)


def redact(text: str) -> str:
    """Replace private addresses and file paths in a text from upstream by an ellipsis."""
    return _PRIVATE.sub("…", text)
