#!/bin/sh
# Writes conf.d/gateway.conf: the limits and origins that nginx has in common with the gateway, taken from the
# gateway's own settings. Run by the image's entrypoint, and by the native run with its own folder.
#
# Each limit is the gateway's and a margin: the gateway knows why something takes long and says so in the API's
# shape, while nginx can only cut it.
set -eu
export LC_ALL=C

folder=${1:-/etc/nginx/conf.d}
margin_seconds=10
margin_bytes=65536

# Eleven days: beyond twice that, the milliseconds of nginx's timers overflow.
longest=1000000

# Prints the value $2 of the setting $1 as nginx takes numbers, whole: rounded up, and at most $3.
whole() {
    printf '%s' "$2" | tr -d ' \t\r\n_' | tr '[:upper:]' '[:lower:]' | awk -v name="$1" -v most="$3" '
        { said = $0 }
        END {
            number = said ~ /^[+]?inf(inity)?$/ ? most : said + 0
            if (number <= 0 || said !~ /^[+]?(inf(inity)?|([0-9]+[.]?[0-9]*|[.][0-9]+)(e[+-]?[0-9]+)?)$/) {
                print name " must be a number above 0" | "cat >&2"
                exit 1
            }
            if (number > most) number = most
            printf "%.0f\n", int(number) < number ? int(number) + 1 : number
        }'
}

seconds() {
    whole "$1" "$2" "$longest"
}

# Prints a line of a `map` for each of the origins and patterns in $1, which the gateway's origins.py explains.
readers() {
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

max_body=$(whole GATEWAY_MAX_BODY_BYTES "${GATEWAY_MAX_BODY_BYTES:-10485760}" 1000000000000)
request=$(seconds GATEWAY_REQUEST_TIMEOUT "${GATEWAY_REQUEST_TIMEOUT:-15}")
send=$(seconds GATEWAY_SEND_TIMEOUT "${GATEWAY_SEND_TIMEOUT:-60}")
first_byte=$(seconds GATEWAY_FIRST_BYTE_TIMEOUT "${GATEWAY_FIRST_BYTE_TIMEOUT:-600}")
idle=$(seconds GATEWAY_IDLE_TIMEOUT "${GATEWAY_IDLE_TIMEOUT:-120}")
manage=$(seconds GATEWAY_MANAGE_TIMEOUT "${GATEWAY_MANAGE_TIMEOUT:-3600}")

# The gateway keeps an answer that does not stream until it is whole: one silence may follow another.
silence=$((first_byte + idle))
[ "$silence" -ge "$manage" ] || silence=$manage
silence=$((silence + margin_seconds))

# Ollama's own, which the gateway lets read while nobody needs a key. nginx cannot know whether that is so; what
# it says itself is no secret.
this_machine=$(
    for host in localhost 127.0.0.1 0.0.0.0; do
        printf ' %s' "http://$host" "http://$host:*" "https://$host" "https://$host:*"
    done
    printf ' %s' 'app://*' 'file://*' 'tauri://*' 'vscode-webview://*' 'vscode-file://*'
)

cat >"$folder/gateway.conf" <<CONF
# Written by entrypoint/40-gateway.sh.

# Default: 1m. The gateway refuses what is above its own limit, and is named in what nginx says of the rest.
client_max_body_size $((max_body + margin_bytes));
map "" \$sluice_max_body {
    default $max_body;
}

# Default: 60s. For the head, and for silence within the body.
client_header_timeout $((request + margin_seconds))s;
client_body_timeout $((request + margin_seconds))s;

# Default: 60s. A client that takes nothing for this long is let go, and with it the model.
send_timeout $((send + margin_seconds))s;

# Default: 60s. The longest that the gateway may wait for a model server without a word to its client, and the
# longest that a model server may leave an upload where it is.
proxy_read_timeout ${silence}s;
proxy_send_timeout ${silence}s;
map "" \$sluice_silence {
    default $silence;
}

# The origin of a page that may read what nginx says; empty: it may not.
map \$http_origin \$sluice_listed_origin {
    default "";
$(readers "${GATEWAY_CORS_ORIGINS:-} $this_machine")
}
CONF
