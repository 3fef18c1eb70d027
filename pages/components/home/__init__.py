"""What Home draws."""
