"""What runs inside an MPI job: the rank agent of each host, and the ranks of MPI functions."""
