"""The built-in sample: a dataset in the layout of the xBD download, drawn from a seed.

`plan_sample` lists its scenes, `draw_scene` draws one of them; nothing in them comes from xBD.
"""

from xview2_siamese_unet.synthetic.events import SampleScene, plan_sample
from xview2_siamese_unet.synthetic.scene import draw_scene, drawing_code, scene_name, write_scene

__all__ = ["SampleScene", "draw_scene", "drawing_code", "plan_sample", "scene_name", "write_scene"]
