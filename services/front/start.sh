#!/bin/sh
# One address in front of the services: nginx speaks HTTP/2 (gRPC) with clients and passes each call
# on by the area in its path, "/gridloom.api.AREA.v1.Service/Method".
#
#   start.sh         serve until TERM or QUIT, which let streams end (30 s at most)
#   start.sh check   look at the configuration and say what is wrong with it
#
# Everything that differs comes from the environment:
#
#   GRIDLOOM_FRONT_PORT               where clients come in
#   GRIDLOOM_FRONT_CERT_FILE          optional: with these two only TLS is spoken there; they are read
#   GRIDLOOM_FRONT_KEY_FILE           again when they change
#   GRIDLOOM_FRONT_INNER_PORT         optional: the same in clear, for the processes of jobs where only
#                                     they reach it
#   GRIDLOOM_FRONT_STATUS_PORT        plain HTTP: /health and /metrics
#   GRIDLOOM_SCHEDULER_ADDRESS        HOST:PORT of each service
#   GRIDLOOM_FUNCTIONS_ADDRESS
#   GRIDLOOM_OBJECTS_ADDRESS
#   GRIDLOOM_MPI_ADDRESS
#   GRIDLOOM_FRONT_SERVICES_CA_FILE   optional: the services are spoken to by TLS, theirs is checked
#                                     against this
#   GRIDLOOM_FRONT_SERVICES_CERT_FILE optional: what is shown to them then; read again as the others
#   GRIDLOOM_FRONT_SERVICES_KEY_FILE
#   GRIDLOOM_FRONT_PROCESSES          2 if nothing is said
#   GRIDLOOM_FRONT_LOOK_SECONDS       between two looks at the certificate; 30 if nothing is said
set -eu

folder=${TMPDIR:-/tmp}/gridloom-front.${GRIDLOOM_FRONT_PORT}
certificate=${GRIDLOOM_FRONT_CERT_FILE:-}
key=${GRIDLOOM_FRONT_KEY_FILE:-}
authority=${GRIDLOOM_FRONT_SERVICES_CA_FILE:-}
shown=${GRIDLOOM_FRONT_SERVICES_CERT_FILE:-}
shown_key=${GRIDLOOM_FRONT_SERVICES_KEY_FILE:-}

# upstream NAME ADDRESS: connections to a service stay open, without a limit of calls or hours.
upstream() {
  cat <<END
    upstream $1 {
        server $2 max_fails=0;
        keepalive 64;
        keepalive_requests 1000000000;
        keepalive_time 365d;
    }
END
}

# location PATH NAME ADDRESS
location() {
  if [ -n "$authority" ]; then
    echo "        location $1 { grpc_pass grpcs://$2; grpc_ssl_name ${3%:*}; }"
  else
    echo "        location $1 { grpc_pass grpc://$2; }"
  fi
}

services_tls() {
  [ -n "$authority" ] || return 0
  echo "    grpc_ssl_trusted_certificate $authority;"
  echo "    grpc_ssl_verify on;"
  echo "    grpc_ssl_verify_depth 5;"
  echo "    grpc_ssl_protocols TLSv1.2 TLSv1.3;"
  echo "    grpc_ssl_server_name on;"
  [ -n "$shown" ] || return 0
  echo "    grpc_ssl_certificate $shown;"
  echo "    grpc_ssl_certificate_key $shown_key;"
}

listen() {
  if [ -n "$certificate" ]; then
    echo "        listen $GRIDLOOM_FRONT_PORT ssl http2 so_keepalive=30s:10s:3;"
    echo "        ssl_certificate $certificate;"
    echo "        ssl_certificate_key $key;"
    echo "        ssl_protocols TLSv1.2 TLSv1.3;"
  else
    echo "        listen $GRIDLOOM_FRONT_PORT http2 so_keepalive=30s:10s:3;"
  fi
  if [ -n "${GRIDLOOM_FRONT_INNER_PORT:-}" ]; then
    echo "        listen $GRIDLOOM_FRONT_INNER_PORT http2 so_keepalive=30s:10s:3;"
  fi
}

configuration() {
  cat <<END
worker_processes ${GRIDLOOM_FRONT_PROCESSES:-2};
worker_shutdown_timeout 30s;
error_log stderr error;
pid $folder/nginx.pid;
daemon off;

events {
    worker_connections 8192;
}

http {
    access_log off;
    server_tokens off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;

    # Of any size, and passed on as it comes.
    client_max_body_size 0;
    client_body_buffer_size 1m;
    grpc_buffer_size 256k;

    # A session or a worker's stream may say nothing for days; that its machine is gone is noticed
    # by TCP.
    client_body_timeout 365d;
    send_timeout 365d;
    grpc_read_timeout 365d;
    grpc_send_timeout 365d;
    grpc_connect_timeout 5s;
    grpc_socket_keepalive on;
    # No connection is taken away from its client after so many calls or hours.
    keepalive_timeout 1d;
    keepalive_requests 1000000000;
    keepalive_time 365d;
    http2_max_concurrent_streams 1000;

    # Who calls tries again, within its own deadline.
    grpc_next_upstream off;
$(services_tls)

$(upstream scheduler "$GRIDLOOM_SCHEDULER_ADDRESS")
$(upstream functions "$GRIDLOOM_FUNCTIONS_ADDRESS")
$(upstream objects "$GRIDLOOM_OBJECTS_ADDRESS")
$(upstream mpi "$GRIDLOOM_MPI_ADDRESS")

    server {
$(listen)

$(location /gridloom.api.scheduler. scheduler "$GRIDLOOM_SCHEDULER_ADDRESS")
$(location /gridloom.api.functions. functions "$GRIDLOOM_FUNCTIONS_ADDRESS")
$(location /gridloom.api.objects. objects "$GRIDLOOM_OBJECTS_ADDRESS")
$(location /gridloom.api.mpi. mpi "$GRIDLOOM_MPI_ADDRESS")
        # Health and reflection are the scheduler's: it is what clients meet first.
$(location /grpc. scheduler "$GRIDLOOM_SCHEDULER_ADDRESS")
        location / {
            default_type application/grpc;
            add_header grpc-status 12 always;
            add_header grpc-message "no service of this platform has that method" always;
            return 204;
        }

        # What gRPC understands: "unavailable", to be tried again.
        error_page 502 503 504 = /unavailable;
        location = /unavailable {
            internal;
            default_type application/grpc;
            add_header grpc-status 14 always;
            add_header grpc-message "the service does not answer" always;
            return 204;
        }
    }

    server {
        listen $GRIDLOOM_FRONT_STATUS_PORT;
        default_type text/plain;
        location = /health { return 200 "ok\n"; }
        location = /metrics {
            return 200 "# HELP gridloom_front_connections Connections of clients that are open.
# TYPE gridloom_front_connections gauge
gridloom_front_connections \$connections_active
";
        }
        location / { return 404; }
    }
}
END
}

# nginx ends where a service's name is not known. The cluster's own names may be unknown for a while
# when much starts at once; what else is wrong it says itself.
await_names() {
  tries=0
  while [ $tries -lt 120 ]; do
    words=$(nginx -e stderr -p "$folder" -c "$folder/nginx.conf" -t -q 2>&1) && return 0
    case $words in *"host not found"*) ;; *) return 0 ;; esac
    tries=$((tries + 1))
    sleep 0.5
  done
}

# Of all that is read from files: what is not there is empty.
content() {
  for file in "$certificate" "$key" "$authority" "$shown" "$shown_key"; do
    [ -z "$file" ] || cat "$file"
  done | cksum
}

# What was renewed is read; streams that are open stay so for 30 s.
follow_files() {
  before=$(content)
  while sleep "${GRIDLOOM_FRONT_LOOK_SECONDS:-30}"; do
    now=$(content)
    if [ "$now" != "$before" ]; then
      before=$now
      kill -HUP "$1" || return 0
    fi
  done
}

mkdir -p "$folder"
configuration > "$folder/nginx.conf"
if [ "${1:-}" = check ]; then
  exec nginx -e stderr -p "$folder" -c "$folder/nginx.conf" -t -q
fi
trap 'exit 0' TERM QUIT USR1 INT
await_names
nginx -e stderr -p "$folder" -c "$folder/nginx.conf" &
proxy=$!
trap 'kill -QUIT $proxy' TERM QUIT USR1
trap 'kill -TERM $proxy' INT
look=
if [ -n "$certificate$authority" ]; then
  follow_files $proxy &
  look=$!
fi
# A signal ends a wait, not nginx: its own exit code is that of a wait which no signal ended.
code=0
while kill -0 $proxy 2>/dev/null; do
  wait $proxy && code=0 || code=$?
done
if [ $code -gt 128 ]; then
  wait $proxy && own=0 || own=$?
  # 127: nothing is left to wait for; a signal has ended nginx itself.
  [ $own -eq 127 ] || code=$own
fi
[ -z "$look" ] || kill $look 2>/dev/null || true
exit $code
