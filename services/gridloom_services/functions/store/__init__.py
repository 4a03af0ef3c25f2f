"""The doors to the database: an interface, the tables behind it, and its twin in memory."""
