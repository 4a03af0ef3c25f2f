"""The main job on real data, written against the SDK alone: `gridloom demo`."""
