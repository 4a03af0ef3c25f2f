"""The door to the jobs on disk: an interface, its twin in memory, its implementation in SQL."""
