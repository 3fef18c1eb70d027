"""The tabs of a version's page, a file each: what they need is read when they are opened."""
