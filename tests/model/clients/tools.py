"""A tool that requests offer to the model, in each API's shape."""

from typing import Any

WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "tells a city's weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

TOOL: Any = {"type": "function", "function": WEATHER}

ANTHROPIC_TOOL: Any = {
    "name": "weather",
    "description": WEATHER["description"],
    "input_schema": WEATHER["parameters"],
}
