FROM --platform=a/b/c/d busybox
