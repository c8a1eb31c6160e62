#!/bin/sh
# Runs a command with OLLAMA_HOST set to this container's own address on the gateway's network. There, every replica has
# the name model-server, so the name alone can mean another one; and Ollama must not listen on its other networks.
set -eu

own=" $(hostname -I) "
for address in $(getent ahostsv4 model-server | cut -d ' ' -f 1 | sort -u); do
    case $own in
        *" $address "*)
            export OLLAMA_HOST="$address:11434"
            exec "$@"
            ;;
    esac
done
echo "no address of model-server is this container's:$own" >&2
exit 1
