FROM busybox AS one
FROM busybox
COPY --from=one /bin/busybxo /b
