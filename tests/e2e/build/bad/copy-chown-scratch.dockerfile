FROM scratch
COPY --chown=me file.txt /
