"""`python -m lab.cli` is `vlab`."""

from lab.cli.main import main

main()
