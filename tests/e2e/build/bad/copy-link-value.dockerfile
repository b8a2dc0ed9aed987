FROM busybox
COPY --link=perhaps a b
