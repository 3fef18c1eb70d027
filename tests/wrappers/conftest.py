from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Built


@pytest.fixture
def pipeline(built: Built) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(built.transformers)


@pytest.fixture
def onnx(built: Built) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(built.onnx)


@pytest.fixture
def chat(built: Built) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(built.chat)
