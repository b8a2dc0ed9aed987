FROM busybox
ONBUILD RUN <<EOF
true
