"""Builds in this process, and a LoRA adapter to build of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from phi3core import tags
from phi3core.build import steps
from phi3core.build.spec import BuildSpec
from phi3core.build.steps import Progress
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client


@pytest.fixture(scope="session")
def lora_once(tiny_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny model as peft saves it, trained by nobody: its numbers are drawn."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(tiny_once)
    model = get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["o_proj", "qkv_proj"]))
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    folder = tmp_path_factory.mktemp("adapter") / "lora"
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def lora(lora_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(lora_once, tmp_path / "lora")


class Bench:
    """Runs builds here, and keeps what they report."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.told = settings, list[Progress]()
        self.home, self.store = experiment_id(settings, tags.BUILDS), mlflow_client(settings)
        self.run_id = self.store.create_run(self.home).info.run_id

    def run(self, spec: BuildSpec) -> int:
        return steps.run_build(self.settings, self.run_id, spec.validated(), self.told.append)

    def left_behind(self) -> list[str]:
        """Everything that a failed build should not have left."""
        artifacts = self.settings.home / "artifacts"
        logged = self.store.search_logged_models([self.home])
        files = [str(path) for path in artifacts.rglob("MLmodel")] if artifacts.is_dir() else []
        return [model.model_id for model in logged] + files + [str(path) for path in self.settings.tmp.iterdir()]


@pytest.fixture
def bench(settings: Settings) -> Bench:
    return Bench(settings)
