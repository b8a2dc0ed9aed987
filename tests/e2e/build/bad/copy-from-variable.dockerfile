FROM busybox
ARG S=one
COPY --from=$S /a /b
