#!/bin/sh
# Writes conf.d/gateway.conf: the limits and origins that nginx shares with the gateway, derived from the gateway's
# settings. Run by the image's entrypoint, and by the run without Docker with its own directory.
#
# Each limit is the gateway's plus a margin, so that the gateway's limit applies first: the gateway can report the
# reason in the API's shape, while nginx can only close the connection.
set -eu
export LC_ALL=C

directory=${1:-/etc/nginx/conf.d}
margin_seconds=10
margin_bytes=65536

# Eleven days. nginx's timers, in milliseconds, overflow at about twice that.
longest=1000000

# Prints the value $2 of the setting $1 as a whole number, as nginx needs it: rounded up, and at most $3.
integer() {
    printf '%s' "$2" | tr -d ' \t\r\n_' | tr '[:upper:]' '[:lower:]' | awk -v name="$1" -v maximum="$3" '
        { value = $0 }
        END {
            number = value ~ /^[+]?inf(inity)?$/ ? maximum : value + 0
            if (number <= 0 || value !~ /^[+]?(inf(inity)?|([0-9]+[.]?[0-9]*|[.][0-9]+)(e[+-]?[0-9]+)?)$/) {
                print name " must be a number above 0" | "cat >&2"
                exit 1
            }
            if (number > maximum) number = maximum
            printf "%.0f\n", int(number) < number ? int(number) + 1 : number
        }'
}

seconds() {
    integer "$1" "$2" "$longest"
}

# Prints a line of a `map` for each origin or pattern in $1. The gateway's origins.py documents the patterns.
origin_entries() {
    # shellcheck disable=SC2016  # the variable is nginx's
    printf '%s\n' "$1" | tr -s ', \t' '\n' | tr '[:upper:]' '[:lower:]' | sed -n '
        s,/*$,,
        /^$/d
        /:\/\//!s,^\*\(..*\),*://*\1,
        s,^\(http://.*\):80$,\1,
        s,^\(https://.*\):443$,\1,
        s,[^a-z0-9*],\\&,g
        /^\*$/!s,\*,[^/]*,g
        s,^\*$,.*,
        s,\\:\[^/\]\*$,\\:[0-9]*,
        s,.*,    "~*^&$" $http_origin;,p'
}

max_body=$(integer GATEWAY_MAX_BODY_BYTES "${GATEWAY_MAX_BODY_BYTES:-10485760}" 1000000000000)
request=$(seconds GATEWAY_REQUEST_TIMEOUT "${GATEWAY_REQUEST_TIMEOUT:-15}")
send=$(seconds GATEWAY_SEND_TIMEOUT "${GATEWAY_SEND_TIMEOUT:-60}")
first_byte=$(seconds GATEWAY_FIRST_BYTE_TIMEOUT "${GATEWAY_FIRST_BYTE_TIMEOUT:-600}")
load=$(seconds GATEWAY_LOAD_TIMEOUT "${GATEWAY_LOAD_TIMEOUT:-900}")
idle=$(seconds GATEWAY_IDLE_TIMEOUT "${GATEWAY_IDLE_TIMEOUT:-120}")
queue=$(seconds GATEWAY_QUEUE_TIMEOUT "${GATEWAY_QUEUE_TIMEOUT:-300}")
manage=$(seconds GATEWAY_MANAGE_TIMEOUT "${GATEWAY_MANAGE_TIMEOUT:-3600}")

# The gateway holds back an answer that does not stream until it is complete, so all these silences may add up.
silence=$((queue + load + first_byte + idle))
[ "$silence" -ge "$manage" ] || silence=$manage
silence=$((silence + margin_seconds))

# The origins that Ollama allows by default. The gateway allows them only while no key is required, which nginx
# cannot know; but nginx's own errors contain nothing secret.
this_machine=$(
    for host in localhost 127.0.0.1 0.0.0.0; do
        printf ' %s' "http://$host" "http://$host:*" "https://$host" "https://$host:*"
    done
    printf ' %s' 'app://*' 'file://*' 'tauri://*' 'vscode-webview://*' 'vscode-file://*'
)

cat >"$directory/gateway.conf" <<CONF
# Written by entrypoint/40-gateway.sh.

# Default: 1m. The gateway refuses bodies above its own limit; nginx's error names that limit too.
client_max_body_size $((max_body + margin_bytes));
map "" \$sluice_max_body {
    default $max_body;
}

# Default: 60s. For the head, and for silence within the body.
client_header_timeout $((request + margin_seconds))s;
client_body_timeout $((request + margin_seconds))s;

# Default: 60s. A client that reads nothing for this long is disconnected, which frees the model.
send_timeout $((send + margin_seconds))s;

# Default: 60s. The longest time for which the gateway may wait for a model server without sending anything, and
# for which a model server may read nothing of an upload.
proxy_read_timeout ${silence}s;
proxy_send_timeout ${silence}s;
map "" \$sluice_silence {
    default $silence;
}

# The request's origin if its pages may read nginx's errors, otherwise empty.
map \$http_origin \$sluice_listed_origin {
    default "";
$(origin_entries "${GATEWAY_CORS_ORIGINS:-} $this_machine")
}
CONF
