"""Python functions on the platform: futures, maps, workflows, pools and executors."""
