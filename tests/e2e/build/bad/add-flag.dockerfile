FROM busybox
ADD --from=one a b
