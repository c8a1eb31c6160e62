#!/bin/sh
# Makes a password for Valkey, once: the gateways get it in a URL, Valkey only its SHA-256. Both files can be read by
# their common user only.
set -eu
umask 077
# Written last, so that an interrupted start begins anew.
[ ! -e /shared/url ] || exit 0
password=$(head -c 32 /dev/urandom | sha256sum | cut -d ' ' -f 1)
digest=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
# A gateway needs nothing that looks at, changes or stops the server itself.
echo "user default on #$digest ~* &* +@all -@dangerous" > /shared/users.acl
echo "valkey://:$password@valkey:6379/0" > /shared/url.new
mv /shared/url.new /shared/url
