"""Simon Willison's llm, as a command, with the app's version in its extra-openai-models.yaml."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from case import BASE, QUESTION, REF, case

folder = Path(tempfile.mkdtemp())
(folder / "extra-openai-models.yaml").write_text(
    f"- model_id: phi3\n  model_name: {REF}\n  api_base: {BASE}\n  supports_schema: true\n"
)
environment = {**os.environ, "LLM_USER_PATH": str(folder), "OPENAI_API_KEY": "none"}


def llm(*words: str) -> str:
    command = [str(Path(sys.executable).with_name("llm")), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


case("chat", lambda: llm("-m", "phi3", "--no-stream", "-o", "max_tokens", "20", QUESTION))
case("stream", lambda: llm("-m", "phi3", "-o", "max_tokens", "20", QUESTION))
case("history", lambda: llm("-m", "phi3", "-c", "-o", "max_tokens", "20", "And of France?"))
case("schema", lambda: llm("-m", "phi3", "--schema", "name, age int", "-o", "max_tokens", "80", "Ana is 30 years old"))
