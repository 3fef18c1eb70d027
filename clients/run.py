"""Runs real clients of OpenAI's protocol against the app, and writes what came of it into docs/clients.md.

    python clients/run.py          starts an app of its own with the embedded model, in .clients/home
    BASE=… REF=… NO_OPTIONS=… python clients/run.py    asks one that runs already

What installs the clients is scripts/install-clients.sh. Ends with 1 where something came out otherwise than expected:
everything works, but for what REFUSED lists.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
INSTALLED = ROOT / ".clients"
TABLE = ROOT / "docs" / "clients.md"
CASES = [
    "models", "chat", "no options", "stream", "history", "schema", "completions", "responses", "responses stream",
    "responses schema", "responses history", "tools", "embeddings",
]  # fmt: skip
REFUSED = {"tools", "embeddings"}
# Name, script, environment of Python or "js", the package whose version is told.
CLIENTS = [
    ("OpenAI, Python", "openai_python.py", "python", "openai"),
    ("OpenAI, JavaScript", "openai_js.mjs", "js", "openai"),
    ("LangChain, Python", "langchain_python.py", "python", "langchain-openai"),
    ("LangChain, JavaScript", "langchain_js.mjs", "js", "@langchain/openai"),
    ("LiteLLM", "litellm_python.py", "python", "litellm"),
    ("LlamaIndex", "llamaindex_python.py", "llamaindex", "llama-index-llms-openai-like"),
    ("llm", "llm_command.py", "python", "llm"),
    ("Vercel AI SDK", "vercel_js.mjs", "js", "ai"),
]


def main() -> int:
    """Run all clients. Returns the exit status."""
    if base := os.environ.get("BASE"):
        rows = run_all(base, os.environ.get("REF", "phi3-embedded/2"))
    else:
        with app() as base:
            rows = run_all(base, "phi3-embedded/2")
    made = f"<!-- table -->\n{table(rows)}<!-- end -->"
    TABLE.write_text(re.sub("(?s)<!-- table -->.*<!-- end -->", lambda _: made, TABLE.read_text()))
    odd = [
        f"{name}: {case} {result}"
        for name, _, found in rows
        for case, result in found.items()
        if result != ("refused" if case in REFUSED else "works")
    ]
    lost = [name for name, _, found in rows if not found]
    print("\n".join([*odd, *(f"{name}: its script did not run." for name in lost)]) or "All as expected.")
    return 1 if odd or lost else 0


def run_all(base: str, ref: str) -> list[tuple[str, str, dict[str, str]]]:
    """Each client with its version and what came of each case."""
    return [(name, version(where, package), run(script, where, base, ref)) for name, script, where, package in CLIENTS]


def run(script: str, where: str, base: str, ref: str) -> dict[str, str]:
    """What came of each case of a script; it is shown too."""
    print(f"── {script}", flush=True)
    if where == "js":
        shutil.copy(HERE / "case.mjs", INSTALLED / "js")
        shutil.copy(HERE / script, INSTALLED / "js")
        command = ["node", script]
    else:
        command = [str(INSTALLED / where / "bin" / "python"), str(HERE / script)]
    environment = {**os.environ, "BASE": base, "REF": ref, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    environment |= {"OPENAI_API_KEY": "none", "ANONYMIZED_TELEMETRY": "false", "LANGSMITH_TRACING": "false"}
    done = subprocess.run(
        command, cwd=INSTALLED / "js" if where == "js" else HERE, env=environment, stdout=subprocess.PIPE, text=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"case"')]
    for one in found:
        print(f"  {one['case']}: {one['result']}  {one['detail']}", flush=True)
    return {one["case"]: one["result"] for one in found}


def version(where: str, package: str) -> str:
    """The version that is installed."""
    if where == "js":
        return str(json.loads((INSTALLED / "js" / "node_modules" / package / "package.json").read_text())["version"])
    code = f"from importlib.metadata import version; print(version({package!r}))"
    python = INSTALLED / where / "bin" / "python"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def table(rows: list[tuple[str, str, dict[str, str]]]) -> str:
    """Markdown: a row for each case, a column for each client."""
    lines = [["", *(str(number) for number, _ in enumerate(rows, start=1))]]
    lines += [["---"] * len(lines[0])]
    lines += [[case, *(found.get(case, "–") for _, _, found in rows)] for case in CASES]
    named = [f"{number}. {name}: `{version}`\n" for number, (name, version, _) in enumerate(rows, start=1)]
    return "".join(
        [f"Run on {time.strftime('%d %B %Y')}:\n\n", *named, "\n", *(f"| {' | '.join(line)} |\n" for line in lines)]
    )


@contextmanager
def app() -> Iterator[str]:
    """An app of its own; its /v1."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "PHI3_HOME": str(INSTALLED / "home"), "PHI3_API_KEY": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "phi3core", "app", "--port", str(port)], cwd=ROOT, env=environment
    )
    try:
        wait(f"http://127.0.0.1:{port}/v1/models", process)
        subprocess.run([sys.executable, HERE / "no_options.py"], env=environment, check=True)
        trust = ["trust", "no-options/1", "--reason", "It is clients/no_options.py."]
        subprocess.run([sys.executable, "-m", "phi3core", *trust], cwd=ROOT, env=environment, check=True)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def wait(url: str, process: subprocess.Popen[bytes], seconds: float = 900) -> None:
    """Wait until the app lists the embedded model's versions; it builds them first where they are not there."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                if b'"phi3-embedded/2"' in answer.read():
                    return
        except OSError:
            pass
        time.sleep(1)
    raise SystemExit("The app did not start: its output is above.")


if __name__ == "__main__":
    sys.exit(main())
