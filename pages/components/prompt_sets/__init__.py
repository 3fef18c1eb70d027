"""The page Prompt sets, and the way into a set from other pages."""
