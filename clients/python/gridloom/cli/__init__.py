"""The command line. Its verbs import what they need when they run: `--help` is quick."""
