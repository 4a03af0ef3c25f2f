"""MPI jobs: programs and functions on ranks, and what came of each rank."""
