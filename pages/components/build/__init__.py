"""The Build page: a build with its steps, its end and its log."""
