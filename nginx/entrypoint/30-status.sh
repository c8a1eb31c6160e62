#!/bin/sh
# Run by the image's entrypoint after the templates are filled in. An nginx built without stub_status would not
# start with this file; the official image has the module.
nginx -V 2>&1 | grep -q http_stub_status_module || rm -r /etc/nginx/conf.d/status-on
