"""What AWM Fleet costs, measured: `make bench` prints the table, and the same as JSON on standard output."""
