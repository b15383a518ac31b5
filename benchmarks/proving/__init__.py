"""What the benchmark of the client libraries is made of."""
