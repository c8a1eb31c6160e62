#!/bin/sh
# Run by the image's entrypoint, once the templates are filled in. An nginx that was built without stub_status
# would not start with it; the official one has it.
nginx -V 2>&1 | grep -q http_stub_status_module || rm -r /etc/nginx/conf.d/status-on
