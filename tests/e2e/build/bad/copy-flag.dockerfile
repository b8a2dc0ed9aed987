FROM busybox
COPY --form=one a b
