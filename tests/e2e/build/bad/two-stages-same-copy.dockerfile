FROM busybox AS a
FROM busybox AS A
COPY --from=a /no/such/file /x
