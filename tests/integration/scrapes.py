"""Values from a gateway's `/metrics`."""

import httpx


def value(url: str, name: str, **labels: object) -> float | None:
    """The value of the one series that has all of `labels`."""
    for text in httpx.get(f"{url}/metrics", timeout=30).text.splitlines():
        if text.startswith((f"{name}{{", f"{name} ")) and all(
            f'{label}="{wanted}"' in text for label, wanted in labels.items()
        ):
            return float(text.rpartition(" ")[2])
    return None
