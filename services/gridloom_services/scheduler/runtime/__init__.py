"""The door to processes: what starts, watches and stops the gangs that the engine placed."""
