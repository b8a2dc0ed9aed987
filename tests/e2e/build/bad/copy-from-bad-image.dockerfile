FROM busybox
COPY --from=Not:An:Image /a /b
