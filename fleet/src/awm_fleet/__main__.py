"""`python -m awm_fleet`: the `awm` command, for where no script of it is on the PATH."""

from awm_fleet.cli import main

main.main()
