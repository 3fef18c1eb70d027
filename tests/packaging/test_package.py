"""A version written as a folder that others deploy."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from phi3core import hashing
from phi3core.errors import BadInput, Conflict, StoreError
from phi3core.packaging import package
from phi3core.packaging.package import MANIFEST, write_package
from phi3core.packaging.targets import IMAGE_TARGETS, TARGETS, dns_label
from phi3core.registry.artifacts import compute_digest
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.cli.commands import run
from tests.support import children


@pytest.fixture
def version(settings: Settings, tmp_path: Path) -> Version:
    return children.register(settings, children.make(tmp_path / "agent"), "It's an $(agent)")


def commands(folder: Path) -> list[str]:
    """What the package's README has one do."""
    blocks = (folder / "README.md").read_text().split("```sh\n")[1:]
    return [block.split("```")[0].strip() for block in blocks]


@pytest.mark.parametrize("target", [name for name in TARGETS if name not in IMAGE_TARGETS])
def test_a_package_holds_the_model_as_it_is_and_a_manifest_of_every_file(
    settings: Settings, version: Version, tmp_path: Path, target: str
) -> None:
    folder = write_package(settings, version.ref, target, tmp_path / "package")

    manifest = json.loads((folder / MANIFEST).read_text())
    assert (manifest["version"], manifest["target"]) == (version.ref, target)
    assert manifest["digest"] == compute_digest(settings, version)
    assert manifest["files"].keys() == hashing.walk_files(folder).keys() - {MANIFEST}
    for name, told in manifest["files"].items():
        assert told == {"bytes": (folder / name).stat().st_size, "sha256": hashing.hash_file(folder / name)}
    assert (folder / manifest["model"] / "MLmodel").is_file()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_image_is_built_by_mlflows_own_dockerfile_and_described_for_kubernetes(
    settings: Settings, version: Version, tmp_path: Path
) -> None:
    environment = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    flavor = {"loader_module": "mlflow.pyfunc.model", "python_version": "3.11.7", "env": environment}
    (tmp_path / "agent" / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": flavor}}))
    (tmp_path / "agent" / "python_env.yaml").write_text("python: 3.11.7\nbuild_dependencies: []\ndependencies: []\n")

    folder = write_package(settings, version.ref, "kubernetes", tmp_path / "package", "registry.example/agent:1")

    docker = (folder / "Dockerfile").read_text()
    deployment, service = yaml.safe_load_all((folder / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    manifest = json.loads((folder / MANIFEST).read_text())
    assert f"COPY {manifest['model']} " in docker
    assert (folder / manifest["model"] / "MLmodel").is_file()
    assert pod["containers"][0]["image"] == "registry.example/agent:1"
    assert deployment["metadata"]["annotations"]["phi3-playground/digest"] == manifest["digest"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert commands(folder)[0] == "docker build -t registry.example/agent:1 ."


def test_a_name_that_a_shell_would_run_is_only_a_name(settings: Settings, version: Version, tmp_path: Path) -> None:
    folder = write_package(settings, version.ref, "databricks", tmp_path / "package")

    assert all("$(agent)" not in command for command in commands(folder))
    assert [word for command in commands(folder) for word in shlex.split(command)]
    assert json.loads((folder / "serving-endpoint.json").read_text())["name"] == "it-s-an-agent"


@pytest.mark.parametrize(
    ("name", "label"),
    [("phi3-embedded", "phi3-embedded"), ("7 of Nine", "m-7-of-nine"), ("漢字", "m"), ("x" * 99, "x" * 40)],
)
def test_platforms_are_given_names_that_they_take(name: str, label: str) -> None:
    assert dns_label(name) == label


def test_files_that_change_while_they_are_copied_leave_no_package(
    settings: Settings, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = package._copy

    def change(source: Path, part: Path) -> str:
        place = copy(source, part)
        with (source / "MLmodel").open("a") as file:
            file.write("\n# changed\n")
        return place

    monkeypatch.setattr(package, "_copy", change)
    with pytest.raises(StoreError, match="changed while they were copied"):
        write_package(settings, version.ref, "azureml", tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_what_is_there_is_never_written_over(settings: Settings, version: Version, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    with pytest.raises(Conflict, match="is there already"):
        write_package(settings, version.ref, "azureml", tmp_path / "package")
    with pytest.raises(BadInput, match="There is no target “moon”"):
        write_package(settings, version.ref, "moon", tmp_path / "other")


def test_the_command_says_where_the_folder_is(settings: Settings, version: Version, tmp_path: Path) -> None:
    told = run("package", version.ref, "--target", "azureml", "--to", str(tmp_path / "package"))

    assert told.exit_code == 0
    assert told.stdout == f"{version.ref} is in {tmp_path / 'package'}: its README.md says how to deploy it.\n"
    assert run("package", version.ref, "--target", "azureml", "--to", str(tmp_path / "package")).exit_code == 1
