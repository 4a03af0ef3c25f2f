"""The chassis under every service: server, interceptors, errors, settings, logs, metrics, store.

It knows no service. What a service's rooms are and how it is composed stands in `app.py`.
"""
