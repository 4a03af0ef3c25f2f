"""Ranks on several hosts: one agent a host, the first of which launches and judges for all.

What a host needs: `gridloom` and the MPI implementation, the same versions everywhere;
`GRIDLOOM_MPI_SPEC` (`spec.py`), the same everywhere; `GRIDLOOM_HOSTS` and `GRIDLOOM_REPLICA_INDEX`
(`gridloom.worker.hosts`), by which an agent knows itself and the others; `GRIDLOOM_TOKEN`, of the
gang. The names in `GRIDLOOM_HOSTS` must lead from each host to each other one, sooner or later, and
all ports between them be open: agents listen on the port of the specification, launcher and ranks
where the system lets them. No SSH, no keys, no root, no shared folders.

The first host's agent waits until each other one answers, attends to it (`attending`) and starts
the launcher, which calls `shim` once a host; that has the host's agent (`follower`, `server`) run
the launcher's command.
"""
