"""HTML pages of reports, assessments, campaigns and comparisons."""
