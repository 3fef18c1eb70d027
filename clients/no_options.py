"""A model that takes no options, as it is logged in an afternoon, and its registration in the app's store.

PHI3_HOME=… python clients/no_options.py    registers no-options/1, unless it is there
"""

from __future__ import annotations

import shutil

import mlflow

NAME = "no-options"


class Parrot(mlflow.pyfunc.PythonModel):
    """Its type hints say that it takes messages, and nothing else."""

    def predict(self, model_input: list[dict[str, str]]) -> list[str]:
        return [f"You said: {model_input[-1]['content']}"]


def register() -> None:
    """Save it below PHI3_HOME, from this file as code, and register that."""
    from phi3core.settings import load_settings

    settings = load_settings()
    mlflow.set_tracking_uri(settings.tracking_uri)
    client, folder = mlflow.MlflowClient(), settings.home.resolve() / NAME
    if client.search_model_versions(f"name='{NAME}'"):
        return
    shutil.rmtree(folder, ignore_errors=True)
    mlflow.pyfunc.save_model(folder, python_model=__file__, pip_requirements=["mlflow"])
    if not client.search_registered_models(f"name='{NAME}'"):
        client.create_registered_model(NAME)
    client.create_model_version(NAME, folder.as_uri())


if __name__ == "__main__":
    register()
else:
    mlflow.models.set_model(Parrot())
