FROM busybox AS a
FROM busybox
COPY --from=a /no/such /
