"""Gangs as pods of a Kubernetes cluster."""
