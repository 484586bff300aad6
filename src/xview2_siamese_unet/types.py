"""Array types. The tests check dtype and shape of those with a shape at every call; other runs do not.

Axes: h rows and w columns of pixels, b images of a batch, k classes, n items of any kind; a number is a fixed length.
In one call, a name stands for one length. Types of tensors are in `models.tensors`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, Shaped, UInt8

# Not numpy.typing.NDArray: jaxtyping needs a class, which it is not from numpy 2.5 on.
AnyArray: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[Any]]
BoolArray: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[np.bool_]]
UInt8Array: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[np.uint8]]
Int32Array: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[np.int32]]
Int64Array: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[np.int64]]
Float32Array: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[np.float32]]
Float64Array: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]

Image = UInt8[UInt8Array, "h w 3"]
"""Red, green and blue; black is no data."""
Panel = UInt8[UInt8Array, "panel_h panel_w 3"]
"""A picture that differs in size from the scene that it shows."""
Images = UInt8[UInt8Array, "b h w 3"]
Mask = UInt8[UInt8Array, "h w"]
"""Damage codes, or 0 and 1 for a mask of buildings."""
Pixels = UInt8[UInt8Array, "h w 8"]
"""A scene of the store: pre-disaster image, post-disaster image, building, damage."""
StorePixels = UInt8[UInt8Array, "n h w 8"]
Probabilities = UInt8[UInt8Array, "5 h w"]
"""Of background and the four damage classes, in steps of 1/254."""
SceneProbabilities = UInt8[UInt8Array, "b 5 h w"]
Bands = UInt8[UInt8Array, "bands h w"]
Confidences = UInt8[UInt8Array, "h w"]
"""Probability of the predicted class in steps of 1/254; 255 is no data."""
Valid = Bool[BoolArray, "h w"]
"""Pixels that hold data."""
Values = Float32[Float32Array, "h w 3"]
"""Colours of an image in its own units."""
Colours = Float32[Float32Array, "3 h w"]
"""`Values` as rasterio reads them."""
PixelValues = Float32[Float32Array, "n 3"]
"""Colours of single pixels."""
WindowPrediction = Float32[Float32Array, "h w k"]
"""Probabilities of background and the damage classes."""
Overlap = Float32[Float32Array, "overlap w k"]
"""The part of a `WindowPrediction` that the windows underneath overlap."""
WindowPredictions = Float32[Float32Array, "b h w k"]
ImageBands = Shaped[AnyArray, "b 3 h w"]
"""`Images` as a net reads them."""
NetOutput = Float32[Float32Array, "b k h w"]
Components = Int32[Int32Array, "h w"]
"""Number of the building of each pixel, from 1; 0 for none."""
ProbabilitySums = Float64[Float64Array, "n 4"]
"""Of the four damage classes, summed over the pixels of each building."""
PartPairs = Int64[Int64Array, "m 2"]
"""Numbers of two parts of buildings that are one building."""
LogitRows = Float32[Float32Array, "n k"]
CodeCounts = Int64[Int64Array, "n 6"]
"""Pixels of each damage code."""
BlockCodeCounts = Int64[Int64Array, "blocks 6"]
PredictionCounts = Int64[Int64Array, "blocks 50 6 2 6"]
"""Block of scenes, step of the probability of a building, most likely code, true building, true code."""
Points = Float64[Float64Array, "n 2"]
"""Rows and columns."""
Nodes = Float64[Float64Array, "rows columns"]
"""Shift at the nodes of a field."""
ShiftMap = Float64[Float64Array, "2 h w"]
"""Rows and columns by which each pixel is shifted."""
Surface = Float64[Float64Array, "h w"]
"""Of a correlation, or of the strength of edges."""
Corners = Int64[Int64Array, "n 2"]
"""First row and column of windows."""
LineEnds = Float64[Float64Array, "2 n"]
"""x and y."""
ClassCodes = UInt8[UInt8Array, "n"]
Flags = Bool[BoolArray, "n"]
Integers = Int64[Int64Array, "n"]
Numbers = Float64[Float64Array, "n"]
Weights = Float32[Float32Array, "n"]
"""Of the pixels along one side of a window."""
LocalizationCounts = Int64[Int64Array, "*scenes 2 2"]
"""Pixels: true class, predicted class."""
DamageCounts = Int64[Int64Array, "*scenes 6 6"]
"""Pixels: true code, predicted code."""
CountRows = Int64[Int64Array, "*scenes 40"]
"""`LocalizationCounts` and `DamageCounts` as columns of a table."""
Matrices = Int64[Int64Array, "*scenes k k"]
"""Confusion counts of k classes."""
ClassNumbers = Float64[Float64Array, "*scenes k"]
ClassSupport = Int64[Int64Array, "*scenes k"]
DrawWeights = Int64[Int64Array, "draws scenes"]
Histograms = Int64[Int64Array, "curves 255 2"]
"""Pixels of each probability in steps of 1/254, and those of the class among them."""
Histogram = Int64[Int64Array, "255 2"]
ClassMeans = Float64[Float64Array, "n 5"]
"""Mean probability of background and the four damage classes in each building."""
Boxes = Int64[Int64Array, "n 4"]
"""Top, left, bottom, right in pixels, the last two outside of the box."""
