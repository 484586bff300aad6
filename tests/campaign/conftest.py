from __future__ import annotations

import pytest

from made_catalogue import Made, write_catalogue


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Six acquisitions before and six after the event, three on either side of a border of UTM zones or across it."""
    return write_catalogue(tmp_path_factory.mktemp("catalogue"))
