FROM busybox
ONBUILD COPY --nosuch a b
