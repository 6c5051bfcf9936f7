"""``python -m fairtune``."""

from fairtune.cli import main

if __name__ == "__main__":
    main()
