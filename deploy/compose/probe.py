"""Whether a model server answers at a URL, and why not.

Needs no other module: the doctor also runs this file's text inside a container.
"""

import json
import socket
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

SECONDS = 3.0


def probe(url: str, address: str = "") -> dict[str, str]:
    """`status` of the answer and `version`, if it has one; or else the `kind` of failure and the `reason`.

    Connects to `address`, if one is given, instead of the URL's host.
    """
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(address or parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        connection.request("GET", parts.path.rstrip("/") + "/api/version")
        response = connection.getresponse()
        return {"status": str(response.status), "version": _version(response.read(65536))}
    except ConnectionRefusedError:
        return {"kind": "refused", "reason": "the connection is refused"}
    except socket.gaierror:
        return {"kind": "unknown", "reason": "the name is not known"}
    except TimeoutError:
        return {"kind": "silent", "reason": f"no answer within {SECONDS:.0f} s"}
    except (OSError, HTTPException, ValueError) as error:
        return {"kind": "other", "reason": str(error) or type(error).__name__}
    finally:
        connection.close()


def _version(body: bytes) -> str:
    try:
        return str(json.loads(body)["version"])
    except (ValueError, LookupError, TypeError):
        return ""


if __name__ == "__main__":
    print(json.dumps([probe(url) for url in sys.argv[1:]]))
