"""`python -m netdoctor`."""

from netdoctor.cli.main import main

main()
