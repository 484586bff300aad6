"""The built-in sample: a folder in the layout of the xBD download, fabricated from a seed.

`plan_sample` says which scenes there are, `write_scene` draws one of them; nothing in them is taken from xBD.
"""

from xview2_siamese_unet.xbd.sample.plan import SampleScene, plan_sample
from xview2_siamese_unet.xbd.sample.write import write_scene

__all__ = ["SampleScene", "plan_sample", "write_scene"]
