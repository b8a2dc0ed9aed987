FROM busybox
COPY --from=0 /a /b
