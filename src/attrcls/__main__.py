"""`python -m attrcls` is `attrcls`."""

from attrcls.cli.app import main

main()
