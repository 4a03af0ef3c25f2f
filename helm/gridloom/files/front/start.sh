#!/bin/sh
# HAProxy, and a look at its certificate now and then: one that was renewed is read, and connections
# that are open stay so. USR1 and TERM end it in good order: streams have their time to go.
set -u
certificate=${GRIDLOOM_FRONT_CERTIFICATE:-/etc/gridloom/tls/tls.pem}
pause=${GRIDLOOM_FRONT_LOOK_SECONDS:-30}

content() { cat "$certificate" "$certificate.key" | cksum; }

haproxy -W -db -f "${GRIDLOOM_FRONT_CONFIGURATION:-/etc/haproxy/haproxy.cfg}" &
proxy=$!
before=$(content)
while sleep "$pause"; do
  now=$(content)
  if [ "$now" != "$before" ]; then
    before=$now
    kill -USR2 $proxy
  fi
done &
look=$!
trap 'kill -USR1 $proxy' USR1 TERM
trap 'kill -INT $proxy' INT
# A signal ends a wait, not HAProxy.
while kill -0 $proxy 2>/dev/null; do
  wait $proxy
  code=$?
done
kill $look
exit $code
