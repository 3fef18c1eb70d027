"""``python -m phi3core``."""

from .cli.main import main

main()
