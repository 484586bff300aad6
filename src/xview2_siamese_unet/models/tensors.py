"""Tensor types with shapes, checked as those of `types`, which does not import torch.

Axes: b scenes, h × w pixels, k classes of a head, c channels of features, y × x positions of features.
"""

from __future__ import annotations

from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

ImageTensor = Shaped[Tensor, "b 3 h w"]
PairTensor = Float[Tensor, "b 6 h w"]
"""Both images, the pre-disaster one first."""
Features = Float[Tensor, "b c y x"]
FusedFeatures = Float[Tensor, "b _ y x"]
"""With more channels, unless the features were subtracted."""
BuildingLogits = Float[Tensor, "b 2 h w"]
ClassLogits = Float[Tensor, "b k h w"]
ProbabilityTensor = Float[Tensor, "b classes h w"]
"""Of background and the damage classes: one more, or as many as the logits of the damage head."""
Codes = UInt8[Tensor, "b h w"]
"""Damage codes."""
Targets = Int64[Tensor, "b h w"]
"""True class of each pixel, or `IGNORE`."""
ClassWeights = Float[Tensor, "k"]
CropTensor = UInt8[Tensor, "h w 8"]
SceneTensor = UInt8[Tensor, "b h w 8"]
"""Bytes of scenes: pre-disaster image, post-disaster image, building, damage."""
Scalar = Float[Tensor, ""]
