"""Jobs: commands on the platform, their handles, logs, outputs and queues."""
