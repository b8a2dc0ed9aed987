FROM --platform=linux/a/b/c busybox
