"""A bundle, and the base that its image stands on."""

import shutil
from pathlib import Path

import base_images
import pytest

from awm_fleet import examples
from awm_generator.images import assembly, layers, model


@pytest.fixture(scope="session")
def library() -> Path:
    return examples.path("library")


@pytest.fixture
def copied(library: Path, tmp_path: Path) -> Path:
    """The same bundle somewhere else, to be changed."""
    return Path(shutil.copytree(library, tmp_path / "elsewhere" / "library"))


@pytest.fixture(scope="session")
def base() -> model.Image:
    return base_images.make()


@pytest.fixture(scope="session")
def layer(library: Path) -> layers.ScenarioLayer:
    return layers.build(library)


@pytest.fixture(scope="session")
def image(base: model.Image, layer: layers.ScenarioLayer) -> model.Image:
    return assembly.assemble(base, layer)
