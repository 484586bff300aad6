"""Labels of buildings by people: reading them, comparing two labellers, and the page to label with."""
