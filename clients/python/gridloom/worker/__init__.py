"""The programs that run inside a job: supervisor, pool host, workers. They know no service."""
