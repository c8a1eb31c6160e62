"""What a role may do."""

from typing import Literal

RouteClass = Literal["inference", "read", "web", "admin", "account", "metrics"]
Role = Literal["user", "admin", "metrics"]

MAY: dict[Role, frozenset[RouteClass]] = {
    "user": frozenset({"inference", "read", "web"}),
    "admin": frozenset({"inference", "read", "web", "admin", "account", "metrics"}),
    "metrics": frozenset({"metrics"}),
}

# What is written down when somebody does it, or tries to.
AUDITED: frozenset[RouteClass] = frozenset({"admin", "account"})
