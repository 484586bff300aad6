from __future__ import annotations

import socket

import pytest

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
