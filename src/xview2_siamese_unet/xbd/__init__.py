"""File names and label JSON of xBD: scenes, tables and splits."""
