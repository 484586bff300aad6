from __future__ import annotations

import socket
from pathlib import Path

import pytest

from made_campaign import write_campaign, write_footprints
from made_catalogue import Made, write_catalogue


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Six acquisitions before and six after the event, three on either side of a border of UTM zones or across it."""
    return write_catalogue(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a plan, footprints and a model."""
    import torch  # noqa: PLC0415  slow to import

    from shipped_project import link_shipped_project  # noqa: PLC0415
    from small_nets import small_checkpoint  # noqa: PLC0415

    local = (
        "inference: {windows: {size: 96, overlap: 32}, buildings: {abstain_below: 0.5384}}\n"
        "hardware: {device: cpu, precision: 32-true}"
    )
    folder = link_shipped_project(tmp_path_factory.mktemp("site"), local)
    write_campaign(folder)
    write_footprints(folder / "houses.gpkg")
    torch.save(small_checkpoint(), folder / "model.pth")
    return folder
