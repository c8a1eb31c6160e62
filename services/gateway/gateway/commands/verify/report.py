"""Renders the verification record as text."""

import json
import textwrap
from typing import Any

WIDTH = 18


def render(record: dict[str, Any]) -> str:
    observed, machine, model, runtime = (record[part] for part in ("observed", "machine", "model", "runtime"))
    lines = [
        f"VERIFICATION RECORD  {record['date']}",
        "",
        _line(
            "machine", f"{machine['processor']}, {machine['cores']} cores, {_bytes(machine['memory_bytes'])}"
        ),
        _line("system", f"{machine['os']}, {machine['architecture']}, Python {machine['python']}"),
        _line("programs", _pairs(record["versions"]["programs"])),
        _line("packages", _pairs(record["versions"]["packages"])),
        "",
    ]
    hops = [f"{hop['hop']} ({hop['address']}): {hop['speaks']}" for hop in record["path"]]
    lines += [_line("path", hops[0]), *(_line("", hop) for hop in hops[1:])]
    lines += [
        "",
        _line(
            "model",
            f"{model['name']}, {model['parameters'] or '?'} parameters, {model['quantization'] or '?'}, "
            f"{_bytes(model['size_bytes'])}",
        ),
        _line(
            "runs on",
            f"{runtime['runs_on'] or 'unknown'}, {runtime['threads'] or '?'} thread(s), "
            f"{_bytes(runtime['memory_bytes'])}, context {runtime['context_length'] or '?'}",
        ),
        _line("request", json.dumps(record["request"]["body"])),
        _line("first event", json.dumps(observed["first_event"])),
        _line("last event", json.dumps(observed["last_event"])),
        _line("events", str(observed["events"])),
        _line("first event after", _seconds(observed["time_to_first_event"])),
        _line("whole answer", _seconds(observed["total"])),
        _line("generation", f"{observed['tokens_per_second'] or '?'} tokens/s"),
        _line(
            "gaps", f"median {_seconds(observed['gap_median'])}, longest {_seconds(observed['gap_longest'])}"
        ),
        "",
    ]
    for check in record["checks"]:
        lines.append(f"  {'pass' if check['passed'] else 'FAIL'}  {check['name']}: {check['detail']}")
    failed = sum(not check["passed"] for check in record["checks"])
    verdict = f"VERDICT: {record['verdict']}"
    return "\n".join(
        [*lines, "", f"{verdict}; {f'{failed} checks failed' if failed else 'every check passed'}"]
    )


def _line(label: str, text: str) -> str:
    return textwrap.fill(
        text,
        110,
        initial_indent=f"  {label:{WIDTH}}",
        subsequent_indent=" " * (WIDTH + 2),
        break_on_hyphens=False,
    )


def _pairs(versions: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'unknown'}" for name, version in versions.items())


def _bytes(count: int | None) -> str:
    if count is None:
        return "size unknown"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"
