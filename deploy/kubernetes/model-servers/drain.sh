#!/bin/sh
# Run in a model server's container before it is stopped: then Ollama cuts running answers off at once, and the engine
# after 5 s. It waits until no gateway is connected: once the address has left the DNS, gateways send nothing new, and
# close a connection 30 s after its last answer.
#
# If the name has no address at all, gateways keep to the last one, and there is no other server to wait for.
set -eu
port=11434

connected() {
    grep -q "$(printf ':%04X [0-9A-F]*:[0-9A-F]* 01' "$port")" /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

while connected && getent hosts model-server >/dev/null; do
    sleep 1
done
