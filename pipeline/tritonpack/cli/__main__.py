"""`python -m tritonpack.cli`: the command line without an installed script."""

from tritonpack.cli import main

main()
