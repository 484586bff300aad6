"""The interface for datasets in another layout than xBD's: a subclass, and a catalog entry `download` that names it."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from xview2_siamese_unet.datasets.partitions import Partitions
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.parallel import Lazy
from xview2_siamese_unet.raster import other_layout
from xview2_siamese_unet.raster.other_layout import OtherScene, convert_scene, label_name, last_change
from xview2_siamese_unet.xbd.scenes import SceneId

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["OtherLayout", "OtherScene", "SceneId"]


class OtherLayout(AbstractDataset[NoReturn, Partitions]):
    """A dataset in another layout, converted for `dataset.source: other`; subclasses add `scenes` and `buildings`.

    Args:
        path: of the dataset, which is never written to.
        metadata: for Kedro-Viz; ignored here.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(path).absolute()
        self.metadata = metadata

    @abstractmethod
    def scenes(self) -> Iterable[OtherScene]:
        """Return all scenes, without reading them."""

    @abstractmethod
    def buildings(self, scene: OtherScene) -> gpd.GeoDataFrame:
        """Return the buildings of a scene: polygons, and a column `damage` with the class names of xBD.

        Coordinates are in any coordinate reference system, or without one in pixels, x to the right and y down.
        """

    def load(self) -> Partitions:
        """Return the files of each scene in the layout of xBD, lazily: links to (or copies of) both images, and labels.

        Raises:
            DataError: there is no scene, or two scenes have one name.
        """
        scenes = list(self.scenes())
        if not scenes:
            raise DataError(f"{self.path} has no scene of {type(self).__name__}.", hint="Correct path in the catalog.")
        name, times = Counter(scene.id for scene in scenes).most_common(1)[0]
        if times > 1:
            raise DataError(f"{self.path} has {times} scenes {name}.", hint="Give each scene a different number.")
        made = {
            label_name(scene): Lazy(
                partial(convert_scene, scene, self.buildings), made_from=partial(last_change, scene)
            )
            for scene in scenes
        }
        code = (Path(inspect.getfile(source)).read_bytes() for source in (type(self), other_layout))
        made_with = {"path": str(self.path), "code": _digest(b"".join(code)), "scenes": _digest(repr(scenes).encode())}
        return Partitions(made, what="scenes in another layout", made_with=made_with)

    def save(self, data: NoReturn) -> None:
        """Refuse: inputs are never written to."""
        raise DatasetError("A dataset in another layout is read only.")

    def _exists(self) -> bool:
        return self.path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": self.path}


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
