#!/bin/sh
# In Kubernetes: tells the command in "$@" who resolves names and where the gateways are, from the pod's own
# /etc/resolv.conf. The cluster's DNS has another address in each cluster, and nginx knows no search domains, the first
# of which is the namespace's.
set -eu
resolver=$(awk '$1 == "nameserver" { print $2; exit }' /etc/resolv.conf)
domain=$(awk '$1 == "search" { print $2; exit }' /etc/resolv.conf)
case $resolver in *:*) resolver="[$resolver]" ;; esac
export NGINX_RESOLVER="$resolver" NGINX_GATEWAY="gateway.$domain:8001 resolve"
exec "$@"
