FROM busybox
SHELL ["sh"
