FROM busybox
    hello world
