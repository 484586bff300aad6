"""The built-in sample: a folder in the layout of the xBD download, fabricated from a seed.

`plan_sample` says which scenes there are, `draw_scene` draws one of them; nothing in them is taken from xBD.
"""

from xview2_siamese_unet.synthetic.plan import SampleScene, plan_sample
from xview2_siamese_unet.synthetic.write import draw_scene, scene_name, write_scene

__all__ = ["SampleScene", "draw_scene", "plan_sample", "scene_name", "write_scene"]
