FROM busybox
RUN ["/bin"]
