FROM scratch
COPY file.txt /
RUN ["/file.txt"]
