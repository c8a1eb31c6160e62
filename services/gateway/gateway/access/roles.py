"""Roles and the classes of routes that they permit."""

from typing import Literal

RouteClass = Literal["inference", "read", "web", "admin", "account", "metrics"]
Role = Literal["user", "admin", "metrics"]

PERMISSIONS: dict[Role, frozenset[RouteClass]] = {
    "user": frozenset({"inference", "read", "web"}),
    "admin": frozenset({"inference", "read", "web", "admin", "account", "metrics"}),
    "metrics": frozenset({"metrics"}),
}

# Requests, also refused ones, that go into the audit log.
AUDITED: frozenset[RouteClass] = frozenset({"admin", "account"})
