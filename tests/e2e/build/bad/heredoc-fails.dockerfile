FROM busybox
RUN <<EOF
set -e
echo one
false
echo two
EOF
