from assessed_roofs import folder, project, write_raster, zones

__all__ = ["folder", "project", "write_raster", "zones"]
