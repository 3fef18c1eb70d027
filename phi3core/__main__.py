"""``python -m phi3core``."""

from .cli import main

main()
