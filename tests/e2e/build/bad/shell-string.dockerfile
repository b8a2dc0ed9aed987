FROM busybox
SHELL "bash"
