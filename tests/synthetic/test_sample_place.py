from __future__ import annotations

import numpy as np
import pytest
from pyproj import Transformer

from xview2_siamese_unet.synthetic.events import EVENTS, Event
from xview2_siamese_unet.synthetic.write import Place, place_near

ALL = {event.name: event for events in EVENTS.values() for event in events}.values()


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.name)
def test_a_place_lies_near_its_event_in_the_zone_of_its_longitude(event: Event) -> None:
    place = place_near(event.epsg, event.longitude, event.latitude, np.random.default_rng(0))
    zone = int((event.longitude + 180) // 6) + 1
    assert event.epsg == (32600 if event.latitude > 0 else 32700) + zone
    assert 0.45 <= place.pixel <= 0.50
    np.testing.assert_allclose(place.degrees(np.zeros((1, 2))), [[event.longitude, event.latitude]], atol=0.3)


def test_x_runs_east_and_y_runs_south() -> None:
    place = Place(32616, 500_000.0, 3_300_000.0, 0.5)
    to_zone = Transformer.from_crs(4326, 32616, always_xy=True)
    east, north = to_zone.transform(*place.degrees(np.array([[0.0, 0.0], [10.0, 4.0]])).T)
    np.testing.assert_allclose(east, [500_000, 500_005], atol=1e-6)
    np.testing.assert_allclose(north, [3_300_000, 3_299_998], atol=1e-6)
