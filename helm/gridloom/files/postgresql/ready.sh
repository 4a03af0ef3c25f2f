#!/bin/sh
# Whether the server takes connections.
PATH=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1):/usr/local/bin:$PATH
exec pg_isready --quiet --host=/tmp --dbname=gridloom --username=gridloom
