FROM busybox AS one
FROM busybox
COPY --from=one /nosuch /b
