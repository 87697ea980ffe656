"""``python -m study`` is the command ``study``; ``ray submit`` takes this file."""

from study.cli.app import main

main()
