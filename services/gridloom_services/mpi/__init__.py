"""The `mpi` service: MPI programs and MPI functions become gangs of the scheduler."""
