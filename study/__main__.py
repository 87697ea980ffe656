"""``python -m study`` is the command ``study``; ``ray submit`` takes this file."""

from study.cli import main

main()
